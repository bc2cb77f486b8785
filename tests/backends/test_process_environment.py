import os
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventinit.backends.process_environment import GivenUpError, process_environment

NAME, ABSENT = "EVENTINIT_TEST_PRESENT", "EVENTINIT_TEST_ABSENT"


@contextmanager
def held_by_another_thread() -> Generator[threading.Event]:
    """Have another thread inside the block until the yielded event is set, or this block ends."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with process_environment({}):
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    try:
        yield leave
    finally:
        leave.set()
        holder.join()


def test_variables_and_folder_are_set_and_then_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, "old")
    monkeypatch.delenv(ABSENT, raising=False)
    before = (os.environ.get("TMPDIR"), tempfile.gettempdir())
    with process_environment({NAME: "new", ABSENT: "set"}, tmp_path):
        inside = (os.environ[NAME], os.environ[ABSENT], os.environ["TMPDIR"], tempfile.gettempdir())
    assert inside == ("new", "set", str(tmp_path), str(tmp_path))
    assert os.environ[NAME] == "old"
    assert ABSENT not in os.environ
    assert (os.environ.get("TMPDIR"), tempfile.gettempdir()) == before


def test_a_block_that_fails_restores_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ABSENT, raising=False)
    before = tempfile.gettempdir()
    with pytest.raises(ZeroDivisionError), process_environment({ABSENT: "set"}, tmp_path):
        _ = 1 // 0
    assert ABSENT not in os.environ
    assert tempfile.gettempdir() == before
    with process_environment({}, given_up=threading.Event()):
        pass


def test_what_others_changed_meanwhile_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NAME, "old")
    with process_environment({}, tmp_path):
        os.environ[NAME] = "changed by somebody else"
    assert os.environ[NAME] == "changed by somebody else"


def test_a_second_thread_waits_for_the_first(tmp_path: Path) -> None:
    seen: list[str] = []

    def look() -> None:
        with process_environment({}):
            seen.append(tempfile.gettempdir())

    other = threading.Thread(target=look)
    with process_environment({}, tmp_path):
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join()
    assert seen == [tempfile.gettempdir()]
    assert seen != [str(tmp_path)]


def test_a_thread_may_be_inside_twice(tmp_path: Path) -> None:
    with process_environment({}), process_environment({}, tmp_path):
        assert tempfile.gettempdir() == str(tmp_path)


def test_waiting_for_the_turn_can_be_given_up() -> None:
    given_up = threading.Event()
    given_up.set()
    with held_by_another_thread(), pytest.raises(GivenUpError), process_environment({}, given_up=given_up):
        pass
