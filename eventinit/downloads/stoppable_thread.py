"""Blocking work in a thread that is told to stop when the caller is cancelled, and waited for."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import current_token

T = TypeVar("T")


async def run_stoppable(work: Callable[[threading.Event], T], grace_s: float) -> T:
    """Return what ``work(stop)`` returns.

    When the caller is cancelled ``stop`` is set, and the thread has ended by the time the cancellation goes on,
    unless it takes longer than ``grace_s`` seconds: then it is abandoned.
    """
    stop, token, ended = threading.Event(), current_token(), anyio.Event()
    started = threading.Event()

    def body() -> T:
        started.set()
        try:
            return work(stop)
        finally:
            with suppress(anyio.RunFinishedError):
                from_thread.run_sync(ended.set, token=token)

    try:
        return await to_thread.run_sync(body, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        stop.set()
        with anyio.move_on_after(grace_s, shield=True):
            if started.is_set():
                await ended.wait()
        raise
