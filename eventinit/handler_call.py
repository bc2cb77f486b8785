"""A call of a handler that takes more than calling it: its options, and the record of an audited event."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from typing import Any

from anyio import move_on_after

from eventinit import clock
from eventinit.author import Author, current_author
from eventinit.event import Event
from eventinit.handler import HandlerSubscription
from eventinit.logs import log_event
from eventinit.outcome import Tally
from eventinit.threads import GRACE_S, run_in_thread

SLOW_INLINE_S = 0.1
"""A plain function that holds the event loop for longer is named in a warning."""


async def call_with_options(handler: HandlerSubscription, tally: Tally | None, event: Event) -> Any:
    """Call a handler as its options say and return its result; with a tally, record what it took and changed.

    Raises:
        TimeoutError: It took longer than its ``timeout``.
    """
    handler.calls += 1
    if handler.where is not None and not handler.where(event):
        handler.calls -= 1
        return None
    if handler.once:
        handler.cancel()
    if tally is None:
        return await _call_in_time(handler, event)
    with _recorded(handler, event, tally):
        return await _call_in_time(handler, event)


async def _call_in_time(handler: HandlerSubscription, event: Event) -> Any:
    if handler.timeout is None:
        return await _call(handler, event)
    with move_on_after(handler.timeout):
        return await _call(handler, event)
    raise TimeoutError(f"took longer than its timeout of {handler.timeout:g} s")


async def _call(handler: HandlerSubscription, event: Event) -> Any:
    if handler.thread:
        return await run_in_thread(partial(handler.call, event), name=handler.name, patience_s=GRACE_S)
    result = handler.call(event)
    return await result if isawaitable(result) else result


@contextmanager
def _recorded(handler: HandlerSubscription, event: Event, tally: Tally) -> Generator[None]:
    author = Author(handler.name, type(event).__name__, handler.owner)
    token = current_author.set(author)
    began = handler.since = clock.monotonic()
    try:
        yield
    finally:
        seconds = handler.last_duration_s = clock.monotonic() - began
        handler.since = None
        current_author.reset(token)
        tally.durations.append((handler.name, seconds))
        tally.changes.extend(author.changes)
        if seconds > SLOW_INLINE_S and not (handler.is_async or handler.thread):
            fields = {"handler": handler.name, "event": type(event).__name__, "seconds": round(seconds, 3)}
            log_event(logging.WARNING, "handler_blocked_the_loop", **fields)
