"""Run a user's blocking function in a worker thread that a cancellation does not have to wait for forever."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from anyio import CapacityLimiter, Event, get_cancelled_exc_class, move_on_after, to_thread
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token

from eventinit.author import current_author
from eventinit.logs import log_event

R = TypeVar("R")

GRACE_S = 5.0


async def run_blocking(
    function: Callable[[], R], *, name: str, grace_s: float = GRACE_S, limiter: CapacityLimiter | None = None
) -> R:
    """Return what a function returns, run in a worker thread with the caller's contextvars.

    A cancelled caller waits ``grace_s`` seconds for the thread to end. A thread that takes longer is abandoned: it runs
    on, but whatever it then writes to a context is refused.
    """
    ended = Event()
    token = current_token()

    def run() -> R:
        try:
            return function()
        finally:
            _tell(ended, token)

    try:
        return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
    except get_cancelled_exc_class():
        await _wait_for(ended, name, grace_s)
        raise


def _tell(ended: Event, token: EventLoopToken) -> None:
    # The event loop may be gone by now, and with it whoever waited.
    with suppress(RuntimeError):
        run_sync(ended.set, token=token)


async def _wait_for(ended: Event, name: str, grace_s: float) -> None:
    with move_on_after(grace_s, shield=True):
        await ended.wait()
        return
    author = current_author.get()
    if author is not None:
        author.revoked = True
    log_event(logging.WARNING, "thread_abandoned", handler=name, grace_s=grace_s)
