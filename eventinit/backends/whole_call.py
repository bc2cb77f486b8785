"""Blocking calls that run to their end in a thread of their own, and are taken back when their caller is cancelled."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


async def whole_call(
    work: Callable[[], T],
    undo: Callable[[T], object] | None = None,
    given_up: threading.Event | None = None,
) -> T:
    """Return what a blocking call returns, without blocking the event loop.

    A thread cannot be interrupted. When the caller is cancelled meanwhile, the call is awaited all the same, what it
    made is given to ``undo``, and only then does the cancellation go on: nothing is left that nobody knows of.
    ``given_up`` is set at once then, for calls that can stop early.
    """
    future = _in_thread(work)
    cancelled = await _settle(future, given_up or threading.Event())
    if cancelled is None:
        return future.result()
    if undo is not None and future.exception() is None:
        made = future.result()
        await _settle(_in_thread(lambda: undo(made)), threading.Event())
    raise cancelled


def _in_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="eventinit-call", daemon=True).start()
    return future


async def _settle(future: Future[T], given_up: threading.Event) -> asyncio.CancelledError | None:
    """Wait until the future is done and return the last cancellation that came meanwhile."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    cancelled: asyncio.CancelledError | None = None
    # anyio's shield holds off anyio's own cancellation, but not a task.cancel() of asyncio.
    with anyio.CancelScope(shield=True):
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError as error:
                cancelled = error
                given_up.set()
    return cancelled or await _pending_cancellation()


async def _pending_cancellation() -> asyncio.CancelledError | None:
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
    except asyncio.CancelledError as error:
        return error
    return None
