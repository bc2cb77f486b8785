"""Who gets the events of one class."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

from eventinit.event import Event
from eventinit.handler import HandlerSubscription
from eventinit.handler_call import call_with_options
from eventinit.lane import Lane

Step = tuple[Callable[[Event], Any], HandlerSubscription]


@final
class Plan:
    """The handlers of an event class in the order in which they run, and the lanes that are shown it.

    Attributes:
        handlers: The handlers of the class and its bases.
        steps: What to call for each of them, when nothing is recorded.
        lanes: Whoever watches.
        audited: Whether durations and changes are recorded.
        is_empty: Whether nobody gets it.
        is_current: Whether the next emit takes it as well.
        runs: How many emits have ended with it, to be handed to the bare handlers: a count of their own would cost an
            emit half as much as calling them does.
    """

    __slots__ = ("_counted", "audited", "handlers", "is_current", "is_empty", "lanes", "runs", "steps")

    def __init__(self, event_type: type[Event], handlers: Sequence[HandlerSubscription], lanes: Sequence[Lane]) -> None:
        self.handlers = tuple(handlers)
        self.steps: list[Step] = [(_bare(handler), handler) for handler in handlers]
        self.lanes = tuple(lanes)
        self.audited = event_type.audited
        self.is_empty = not handlers and not lanes
        self.is_current = True
        # Whatever is called with options, or audited, counts for itself.
        self._counted = () if self.audited else tuple(handler for handler in handlers if handler.is_bare)
        self.runs = 0

    def settle(self) -> None:
        """Hand what was counted to the handlers."""
        runs, self.runs = self.runs, 0
        if runs:
            for handler in self._counted:
                handler.calls += runs

    def retire(self) -> None:
        """Settle for good; emits that are under way settle for themselves when they end."""
        self.is_current = False
        self.settle()

    def count_late(self) -> None:
        """Count an emit that has ended after the plan was retired."""
        self.runs += 1
        self.settle()

    def pass_over(self, handler: HandlerSubscription) -> None:
        """Take a handler out of the count that was cancelled before the emit came to it."""
        if handler in self._counted:
            handler.calls -= 1

    def cut_short(self, last: HandlerSubscription) -> None:
        """Count an emit that was cancelled in a handler, for all that it has called."""
        called = self.handlers[: self.handlers.index(last) + 1]
        for handler in self._counted:
            if handler in called:
                handler.calls += 1


def _bare(handler: HandlerSubscription) -> Callable[[Event], Any]:
    return handler.call if handler.is_bare else partial(call_with_options, handler, None)
