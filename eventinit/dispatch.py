"""The one loop in which the handlers of an event run."""

import inspect
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anyio import move_on_after

from eventinit.author import Author, current_author
from eventinit.errors import HandlerError
from eventinit.event import Event
from eventinit.logs import log_event
from eventinit.subscription import HandlerSubscription
from eventinit.threads import GRACE_S, run_in_thread
from eventinit.veto import VetoRecord, as_veto

SLOW_INLINE_S = 0.1
"""A plain function that holds the event loop for longer is named in a warning."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event.

    Attributes:
        vetoes: Every veto, in the order of the handlers.
        errors: The failures of handlers subscribed with ``on_error="log"``.
        durations: How long each handler took in seconds, for events that are audited.
    """

    vetoes: tuple[VetoRecord, ...] = ()
    errors: tuple[HandlerError, ...] = ()
    durations: tuple[tuple[str, float], ...] = ()

    @property
    def vetoed(self) -> bool:
        """Whether any handler vetoed."""
        return bool(self.vetoes)


NOTHING_HAPPENED = Outcome()


@dataclass(slots=True)
class _Tally:
    """What the handlers of one event have done so far."""

    vetoes: list[VetoRecord] = field(default_factory=list[VetoRecord])
    fatal: list[HandlerError] = field(default_factory=list[HandlerError])
    logged: list[HandlerError] = field(default_factory=list[HandlerError])
    durations: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])


async def dispatch(event: Event, handlers: Sequence[HandlerSubscription]) -> Outcome:
    """Run the handlers one after another and return what came of it; a handler that fails does not stop the others.

    Raises:
        HandlerError: The first failure, with the others attached.
    """
    tally = _Tally()
    call = _call_audited if event.audited else _call_in_time
    for handler in handlers:
        if not handler.live:
            continue
        try:
            if handler.where is not None and not handler.where(event):
                continue
            if handler.once:
                handler.cancel()
            result = await call(handler, event, tally)
            if result is not None:
                _note_result(handler, event, result, tally)
        except Exception as error:  # noqa: BLE001
            _note_failure(handler, event, error, tally)
    if tally.fatal:
        raise tally.fatal[0].attach(tally.fatal[1:])
    return Outcome(tuple(tally.vetoes), tuple(tally.logged), tuple(tally.durations))


async def _call_in_time(handler: HandlerSubscription, event: Event, _tally: _Tally) -> Any:
    if handler.timeout is None:
        return await _call(handler, event)
    with move_on_after(handler.timeout):
        return await _call(handler, event)
    raise TimeoutError(f"took longer than its timeout of {handler.timeout:g} s")


async def _call(handler: HandlerSubscription, event: Event) -> Any:
    if handler.thread:
        return await run_in_thread(partial(handler.call, event), name=handler.name, patience_s=GRACE_S)
    result = handler.call(event)
    if handler.is_async or inspect.isawaitable(result):
        return await result
    return result


async def _call_audited(handler: HandlerSubscription, event: Event, tally: _Tally) -> Any:
    token = current_author.set(Author(handler.name, type(event).__name__))
    started = time.perf_counter()
    try:
        return await _call_in_time(handler, event, tally)
    finally:
        seconds = time.perf_counter() - started
        current_author.reset(token)
        tally.durations.append((handler.name, seconds))
        if seconds > SLOW_INLINE_S and not (handler.is_async or handler.thread):
            fields = {"handler": handler.name, "event": type(event).__name__, "seconds": round(seconds, 3)}
            log_event(logging.WARNING, "handler_blocked_the_loop", **fields)


def _note_result(handler: HandlerSubscription, event: Event, result: object, tally: _Tally) -> None:
    veto = as_veto(result, handler=handler.name, event=type(event), subscribed_to=handler.event_type)
    if veto is not None:
        tally.vetoes.append(VetoRecord(veto.reason, handler.name, handler.priority))
    elif result is False and not handler.warned:
        handler.warned = True
        log_event(logging.WARNING, "false_is_no_veto_here", handler=handler.name, event=type(event).__name__)


def _note_failure(handler: HandlerSubscription, event: Event, error: Exception, tally: _Tally) -> None:
    failure = HandlerError(handler.name, type(event).__name__, event.phase, error)
    if handler.on_error == "raise":
        tally.fatal.append(failure)
        return
    tally.logged.append(failure)
    log_event(logging.ERROR, "handler_failed", error, handler=handler.name, event=type(event).__name__)
