"""A thread that lives until it is told to end."""

import gc
import threading
from functools import partial

import pytest

from eventinit.own_thread import OwnThread


def test_calls_run_one_after_another_in_one_daemon_thread() -> None:
    own = OwnThread("mine")
    seen: list[tuple[int, threading.Thread]] = []

    def note(n: int) -> None:
        seen.append((n, threading.current_thread()))

    futures = [own.submit(partial(note, n)) for n in range(3)]
    for future in futures:
        future.result(30)
    assert [n for n, _ in seen] == [0, 1, 2]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1].name == "mine"
    assert seen[0][1].daemon
    assert seen[0][1] is not threading.current_thread()
    own.end()


def test_it_ends_after_what_was_submitted_and_takes_nothing_more() -> None:
    own = OwnThread("mine")
    go = threading.Event()
    own.submit(lambda: go.wait(30))
    last = own.submit(threading.current_thread)
    own.end()
    own.end()
    with pytest.raises(RuntimeError, match="told to end"):
        own.submit(list[int])
    go.set()
    thread = last.result(30)
    thread.join(30)
    assert not thread.is_alive()


def test_a_call_that_fails_is_the_futures_affair_and_the_thread_goes_on() -> None:
    own = OwnThread("mine")
    failed = own.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(30)
    assert own.submit(lambda: 7).result(30) == 7
    own.end()


def test_it_ends_with_its_last_reference() -> None:
    own = OwnThread("mine")
    thread = own.submit(threading.current_thread).result(30)
    del own
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
