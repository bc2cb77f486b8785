"""The one loop in which the handlers of an event run."""

import logging
from collections.abc import Sequence
from functools import partial
from inspect import isawaitable
from sys import get_asyncgen_hooks

from eventinit import clock
from eventinit.cancellation import is_failure
from eventinit.errors import HandlerError
from eventinit.event import Event
from eventinit.handler import HandlerSubscription
from eventinit.handler_call import call_with_options
from eventinit.home_loop import HomeLoop
from eventinit.lane import Lane
from eventinit.logs import log_event
from eventinit.outcome import NOTHING_HAPPENED, Outcome, Tally
from eventinit.registry import Registry
from eventinit.veto import VetoRecord, as_veto


class Emitter:
    """Runs the handlers of events; the half of a bus that is called all the time.

    What happens in ``emit`` for each handler decides how fast the bus is: a bare handler is called right there, and
    what asks for more (options, an audited event) comes as a function that does it.
    """

    def __init__(self, registry: Registry, home: HomeLoop) -> None:
        self._registry = registry
        self._home = home
        self._plans = registry.plans

    async def emit(self, event: Event) -> Outcome:  # noqa: PLR0912 - a function for a branch would slow every handler down
        """Run the event's handlers, show it to whoever watches, and return what came of it.

        Raises:
            HandlerError: A handler failed; all of them have run.
            BusError: It is no event, or the bus belongs to another event loop.
        """
        try:
            plan = self._plans[type(event)]
        except KeyError:
            plan = self._registry.plan_of(type(event))
        if plan.is_empty:
            return NOTHING_HAPPENED
        if get_asyncgen_hooks().firstiter is not self._home.mark:
            self._home.enter()
        tally: Tally | None = None
        steps = plan.steps
        if plan.audited:
            tally = Tally()
            steps = [(partial(call_with_options, handler, tally), handler) for handler in plan.handlers]
        for call, handler in steps:
            if not handler.live:
                plan.pass_over(handler)
                continue
            try:
                result = call(event)
                if result is not None:
                    if handler.is_async or isawaitable(result):
                        result = await result
                    if result is not None:
                        tally = tally or Tally()
                        _note_result(handler, event, result, tally)
            except BaseException as error:
                if not is_failure(error):
                    plan.cut_short(handler)
                    _show(event, None, plan.lanes)
                    raise
                tally = tally or Tally()
                _note_failure(handler, event, error, tally)
        if plan.is_current:
            plan.runs += 1
        else:
            plan.count_late()
        if tally is None and not plan.lanes:
            return NOTHING_HAPPENED
        outcome = NOTHING_HAPPENED if tally is None else tally.outcome()
        _show(event, outcome, plan.lanes)
        if outcome.failure is not None:
            raise outcome.failure
        return outcome


def _show(event: Event, outcome: Outcome | None, lanes: Sequence[Lane]) -> None:
    wanted = [lane for lane in lanes if lane.live and (lane.where is None or lane.accepts(event))]
    if wanted:
        seen, at = event.observed(), clock.monotonic()
        for lane in wanted:
            lane.put(seen, outcome, at)


def _note_result(handler: HandlerSubscription, event: Event, result: object, tally: Tally) -> None:
    veto = as_veto(result, handler=handler.name, event=type(event), subscribed_to=handler.event_type)
    if veto is not None:
        tally.vetoes.append(VetoRecord(veto.reason, handler.name, handler.priority))
    elif result is False and not handler.warned:
        handler.warned = True
        log_event(logging.WARNING, "false_is_no_veto_here", handler=handler.name, event=type(event).__name__)


def _note_failure(handler: HandlerSubscription, event: Event, error: BaseException, tally: Tally) -> None:
    handler.failures += 1
    failure = HandlerError(handler.name, type(event).__name__, event.phase, error)
    if handler.on_error == "raise":
        tally.fatal.append(failure)
        return
    tally.logged.append(failure)
    log_event(logging.ERROR, "handler_failed", error, handler=handler.name, event=type(event).__name__)
