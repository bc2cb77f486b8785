"""Run blocking work in a worker thread for a caller that may be cancelled."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, Event, create_task_group, current_time, from_thread, to_thread
from anyio.lowlevel import current_token

from eventinit.author import current_author
from eventinit.logs import log_event
from eventinit.own_thread import OwnThread, settle

T = TypeVar("T")

GRACE_S = 5.0
"""How long a cancelled caller waits for a user's function."""


async def run_in_thread(
    work: Callable[[], T],
    *,
    name: str,
    hurry: threading.Event | None = None,
    patience_s: float = inf,
    undo: Callable[[T], object] | None = None,
    even_if_cancelled: bool = False,
    limiter: CapacityLimiter | None = None,
    thread: OwnThread | None = None,
) -> T:
    """Return what blocking work returns, run in a worker thread with the caller's contextvars.

    A thread cannot be interrupted. A cancelled caller sets ``hurry``, waits until the thread is through with the work,
    has ``undo`` take back what came of it all the same, and only then does the cancellation go on. That holds for a
    plain ``task.cancel()`` on asyncio as well, and however often it comes.

    A thread that takes longer than ``patience_s`` is abandoned with a warning: it runs on, and takes back by itself
    what comes of it, but whatever it then writes to a context is refused.

    Args:
        work: What to run; it may look at ``hurry`` to end early.
        name: What the warning calls it.
        hurry: Set when nobody needs the result any more.
        patience_s: How long a cancelled caller waits.
        undo: Called in a thread with a result that nobody gets.
        even_if_cancelled: Run the work even when the caller is cancelled before it has begun, since it cleans up.
        limiter: How many threads there may be; by default anyio's own limit.
        thread: Where to run it, instead of in one of anyio's threads.
    """
    outcome: Future[T] = Future()
    body = partial(settle, outcome, work)
    patience = CancelScope(shield=True)
    ended = Event()

    async def run() -> None:
        with patience:
            try:
                await (
                    _in_own(thread, body)
                    if thread
                    else to_thread.run_sync(body, abandon_on_cancel=True, limiter=limiter)
                )
            except Exception as error:  # noqa: BLE001 - there is no thread to be had; it is raised below
                outcome.set_exception(error)
        ended.set()

    try:
        # In a task of its own, since a plain task.cancel() would strike through the shield of the task that it hits.
        async with create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                await ended.wait()
            except BaseException:
                if hurry is not None:
                    hurry.set()
                never_begins = not even_if_cancelled and outcome.cancel()
                patience.deadline = -inf if never_begins else current_time() + patience_s
                raise
    except BaseException:
        if not outcome.done():
            _abandon(name, patience_s)
        if undo is not None:
            await _take_back(outcome, partial(_undo, undo, name))
        raise
    return outcome.result()


async def _in_own(thread: OwnThread, body: Callable[[], None]) -> None:
    ended, token = Event(), current_token()
    # As a worker thread has it: without the mark that an event loop is running.
    context = await to_thread.run_sync(copy_context)

    def run() -> None:
        context.run(body)
        with suppress(RuntimeError):  # the event loop may be gone by now, and with it whoever waited
            from_thread.run_sync(ended.set, token=token)

    thread.submit(run)
    await ended.wait()


def _abandon(name: str, patience_s: float) -> None:
    author = current_author.get()
    if author is not None:
        author.revoked = True
    log_event(logging.WARNING, "thread_abandoned", handler=name, patience_s=patience_s)


async def _take_back(outcome: Future[T], undo: Callable[[Future[T]], None]) -> None:
    """Undo the result in a thread if there is one, else leave that to the abandoned thread, for when it has one."""

    async def run() -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(outcome.add_done_callback, undo)

    async with create_task_group() as tasks:
        tasks.start_soon(run)


def _undo(undo: Callable[[T], object], name: str, outcome: Future[T]) -> None:
    if outcome.cancelled() or outcome.exception() is not None:
        return
    try:
        undo(outcome.result())
    except Exception as error:  # noqa: BLE001 - the caller's cancellation goes on
        log_event(logging.ERROR, "undo_failed", error, undo=name)
