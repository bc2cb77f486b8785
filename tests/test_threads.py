"""Blocking work in threads, for callers that are cancelled at every moment and in every way."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest

from eventinit.author import Author, current_author
from eventinit.own_thread import OwnThread
from eventinit.threads import run_in_thread

pytestmark = pytest.mark.anyio

number: ContextVar[int] = ContextVar("number", default=0)


@dataclass
class Work:
    """Work that begins, goes on until it is let go (or hurried), and gives 7."""

    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> int:
        self.begun.set()
        assert self.go.wait(30)
        self.ended.set()
        return 7


@dataclass
class Undone:
    """An undo that notes what it was given, and in which thread."""

    results: list[int] = field(default_factory=list[int])
    threads: list[threading.Thread] = field(default_factory=list[threading.Thread])
    called: threading.Event = field(default_factory=threading.Event)

    def __call__(self, result: int) -> None:
        self.results.append(result)
        self.threads.append(threading.current_thread())
        self.called.set()


@pytest.fixture
def work() -> Iterator[Work]:
    """Give work whose thread ends with the test."""
    made = Work()
    yield made
    made.go.set()


@pytest.fixture(params=["pooled", "own"])
def thread(request: pytest.FixtureRequest) -> Iterator[OwnThread | None]:
    """Run each test in one of anyio's threads and in an own one."""
    if request.param == "pooled":
        yield None
        return
    own = OwnThread("own")
    yield own
    own.end()


async def happened(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, 30)


async def cancel_once_begun(work: Work, **how: Any) -> None:
    """Run the work and cancel the caller as soon as it has begun; return when the caller has ended."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(run_in_thread, work, name="work", **how))
        await happened(work.begun)
        tasks.cancel_scope.cancel()


async def test_the_result_comes_back_from_another_thread_that_has_the_callers_contextvars(
    thread: OwnThread | None,
) -> None:
    number.set(5)
    threads: list[threading.Thread] = []

    def read() -> int:
        threads.append(threading.current_thread())
        return number.get()

    assert await run_in_thread(read, name="work", thread=thread) == 5
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize("error", [KeyError("lost"), SystemExit(3), StopIteration()])
async def test_what_the_work_raises_is_raised_as_it_is(thread: OwnThread | None, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - all there are
        await run_in_thread(fail, name="work", thread=thread)
    assert error in (caught.value, caught.value.__cause__)  # Python wraps a StopIteration that a coroutine raises


async def test_the_thread_has_ended_when_the_cancellation_goes_on(thread: OwnThread | None, work: Work) -> None:
    """The work is told to hurry, and does."""
    await cancel_once_begun(work, hurry=work.go, thread=thread)
    assert work.ended.is_set()


async def test_a_result_that_nobody_gets_is_undone_before_the_cancellation_goes_on(
    thread: OwnThread | None, work: Work
) -> None:
    undone = Undone()
    await cancel_once_begun(work, hurry=work.go, undo=undone, thread=thread)
    assert undone.results == [7]
    assert undone.threads != [threading.current_thread()]


async def test_an_undo_that_fails_is_logged_and_the_cancellation_goes_on(
    work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_result: int) -> None:
        raise KeyError("stuck")

    await cancel_once_begun(work, hurry=work.go, undo=fail)
    assert "eventinit.undo_failed undo=work" in caplog.text
    assert "stuck" in caplog.text


async def test_work_that_fails_after_the_cancellation_has_nothing_to_undo() -> None:
    undone = Undone()
    begun, go = threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        go.wait(30)
        raise KeyError("lost")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(run_in_thread, fail, name="work", hurry=go, undo=undone))
        await happened(begun)
        tasks.cancel_scope.cancel()
    assert undone.results == []


async def test_a_thread_that_does_not_hurry_is_abandoned_and_loses_its_author(
    thread: OwnThread | None, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in a warning, and takes back by itself what it comes to later."""
    author = Author("handler", "PreDownload")
    current_author.set(author)
    undone = Undone()
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        await cancel_once_begun(work, patience_s=0.05, undo=undone, thread=thread)
    assert not work.ended.is_set()
    assert author.revoked
    assert "eventinit.thread_abandoned handler=work patience_s=0.05" in caplog.text
    assert undone.results == []
    work.go.set()
    await happened(undone.called)
    assert undone.results == [7]


async def test_a_thread_that_ends_in_time_is_not_named_and_keeps_its_author(
    thread: OwnThread | None, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    author = Author("handler", "PreDownload")
    current_author.set(author)
    await cancel_once_begun(work, hurry=work.go, patience_s=30, thread=thread)
    assert not author.revoked
    assert caplog.text == ""


async def test_work_whose_caller_is_cancelled_before_it_begins_is_left_out(thread: OwnThread | None) -> None:
    calls: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_in_thread(lambda: calls.append(1), name="work", thread=thread)
    assert scope.cancelled_caught
    await run_in_thread(lambda: calls.append(2), name="work", thread=thread)
    assert calls == [2]


async def test_work_that_cleans_up_is_done_even_then(thread: OwnThread | None) -> None:
    calls: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_in_thread(lambda: calls.append(1), name="work", even_if_cancelled=True, thread=thread)
    assert scope.cancelled_caught
    assert calls == [1]


async def test_a_caller_that_waits_for_a_blocked_thread_of_its_own_is_cancelled_at_once(work: Work) -> None:
    own = OwnThread("own")
    own.submit(work)
    calls: list[int] = []
    with anyio.move_on_after(0.05) as scope:
        await run_in_thread(lambda: calls.append(1), name="work", thread=own)
    assert scope.cancelled_caught
    assert not work.go.is_set()
    work.go.set()
    await run_in_thread(lambda: calls.append(2), name="work", thread=own)
    assert calls == [2]
    own.end()


async def test_a_limiter_bounds_the_threads() -> None:
    limiter = anyio.CapacityLimiter(1)
    inside: list[int] = []
    most: list[int] = []
    pause = threading.Event()

    def count() -> None:
        inside.append(1)
        most.append(len(inside))
        pause.wait(0.02)
        inside.pop()

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(partial(run_in_thread, count, name="work", limiter=limiter))
    assert most == [1, 1, 1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_plain_cancel_of_asyncio_waits_and_undoes_too(thread: OwnThread | None, work: Work, times: int) -> None:
    """Also when it comes a second time, while the first is being waited for."""
    undone = Undone()
    hurry = threading.Event()
    call = run_in_thread(work, name="work", hurry=hurry, undo=undone, thread=thread)
    caller = asyncio.create_task(call)
    await happened(work.begun)
    for _ in range(times):
        caller.cancel()
        done, _ = await asyncio.wait([caller], timeout=0.05)
        assert not done
    assert hurry.is_set()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert undone.results == [7]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_plain_cancel_does_not_interrupt_the_undo(work: Work) -> None:
    undoing, go_on = threading.Event(), threading.Event()
    undone = Undone()

    def undo(result: int) -> None:
        undoing.set()
        go_on.wait(30)
        undone(result)

    caller = asyncio.create_task(run_in_thread(work, name="work", hurry=work.go, undo=undo))
    await happened(work.begun)
    caller.cancel()
    await happened(undoing)
    caller.cancel()
    done, _ = await asyncio.wait([caller], timeout=0.05)
    assert not done
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert undone.results == [7]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("steps", range(8))
async def test_a_result_is_either_given_or_undone_whenever_the_cancel_comes(work: Work, steps: int) -> None:
    """The plain cancel comes so many steps of the event loop after the thread has told of its end."""
    undone = Undone()
    caller = asyncio.create_task(run_in_thread(work, name="work", undo=undone))
    await happened(work.begun)
    work.go.set()
    work.ended.wait(30)
    for _ in range(steps):
        await asyncio.sleep(0)
    caller.cancel()
    try:
        given = [await caller]
    except asyncio.CancelledError:
        given = []
    assert given + undone.results == [7]


def in_new_loop(function: Callable[[], Any]) -> int:
    async def main() -> int:
        function()
        return 7

    return anyio.run(main)


async def test_the_work_may_run_an_event_loop_of_its_own(thread: OwnThread | None) -> None:
    assert await run_in_thread(partial(in_new_loop, list), name="work", thread=thread) == 7


async def test_an_own_thread_that_was_told_to_end_refuses_work_in_one_error() -> None:
    own = OwnThread("own")
    own.end()
    with pytest.raises(RuntimeError, match="told to end"):
        await run_in_thread(list[int], name="work", thread=own)
