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
        runs: How many emits have begun with it. A handler's own count would cost an emit as much as calling it does, so
            one count serves all, and the few that an emit does not reach are taken off theirs.
    """

    __slots__ = ("audited", "handlers", "is_empty", "lanes", "runs", "steps")

    def __init__(self, event_type: type[Event], handlers: Sequence[HandlerSubscription], lanes: Sequence[Lane]) -> None:
        self.handlers = tuple(handlers)
        self.steps: list[Step] = [(_bare(handler), handler) for handler in handlers]
        self.lanes = tuple(lanes)
        self.audited = event_type.audited
        self.is_empty = not handlers and not lanes
        self.runs = 0

    def settle(self) -> None:
        """Hand what was counted to the handlers."""
        runs, self.runs = self.runs, 0
        if runs:
            for handler in self.handlers:
                handler.calls += runs

    def cut_short(self, last: HandlerSubscription) -> None:
        """Take the handlers out of the count that come after the one in which an emit was cancelled."""
        for handler in self.handlers[self.handlers.index(last) + 1 :]:
            handler.calls -= 1


def _bare(handler: HandlerSubscription) -> Callable[[Event], Any]:
    return handler.call if handler.is_bare else partial(call_with_options, handler, None)
