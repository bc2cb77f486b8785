"""A recorder of what happens on a bus, and what a test may want to say about it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, final

from anyio import Event as Signal
from anyio import move_on_after

from eventinit.bus import EventBus
from eventinit.event import Event
from eventinit.lane import Filter, Lane
from eventinit.outcome import Outcome
from eventinit.subscription import SubscriberStatus
from eventinit.veto import VetoRecord

E = TypeVar("E", bound=Event)


@final
class Recorder(Lane):
    """Every event of a bus with what came of it, in the order in which the emits ended.

    It records at once, also on a bus that is not open, and loses nothing. Contexts are recorded as they were when the
    event's handlers had run. What a test says about it is an ``AssertionError`` that lists what was recorded.
    """

    __slots__ = ("_news", "_records", "_seen")

    def __init__(self, event_type: type[Event], end: Callable[[Any], None]) -> None:
        super().__init__(event_type, "recorder", end, None)
        self._records: list[tuple[Event, Outcome | None]] = []
        self._seen = 0
        self._news: Signal | None = None

    @property
    def events(self) -> list[Event]:
        """Everything recorded so far."""
        return [event for event, _ in self._records]

    def of(self, event_type: type[E]) -> list[E]:
        """Return the recorded events of a class, and of those that derive from it."""
        return [event for event in self.events if isinstance(event, event_type)]

    def vetoes_of(self, event_type: type[Event]) -> list[VetoRecord]:
        """Return every veto of the recorded events of a class."""
        return [
            veto
            for event, outcome in self._records
            if outcome is not None and isinstance(event, event_type)
            for veto in outcome.vetoes
        ]

    def errors(self) -> list[Exception]:
        """Return what the recorded emits raised."""
        return [outcome.failure for _, outcome in self._records if outcome is not None and outcome.failure is not None]

    async def expect(self, event_type: type[E], *, within_s: float = 5.0, where: Filter | None = None) -> E:
        """Return the next event of a class for which ``where`` is true, waiting for it if need be.

        The next one after that which the last ``expect`` returned, so a series of them is a series of events.

        Raises:
            AssertionError: It did not come within ``within_s`` seconds.
        """
        place = self._seen
        with move_on_after(within_s):
            while True:
                while place < len(self._records):
                    event = self._records[place][0]
                    place += 1
                    if isinstance(event, event_type) and (where is None or where(event)):
                        self._seen = place
                        return event
                self._news = self._news or Signal()
                await self._news.wait()
        raise AssertionError(f"no {event_type.__name__} within {within_s:g} s; {self._recorded(self._seen)}")

    def assert_order(self, *event_types: type[Event]) -> None:
        """Say that events of these classes came in this order; others may have come in between.

        Raises:
            AssertionError: They did not.
        """
        left = iter(self.events)
        for place, event_type in enumerate(event_types):
            if not any(isinstance(event, event_type) for event in left):
                before = f" after {event_types[place - 1].__name__}" if place else ""
                raise AssertionError(f"no {event_type.__name__}{before}; {self._recorded()}")

    def assert_never(self, event_type: type[Event]) -> None:
        """Say that no event of a class came.

        Raises:
            AssertionError: One did.
        """
        if found := self.of(event_type):
            raise AssertionError(f"{found[0]!r} came; {self._recorded()}")

    def assert_vetoed(self, event_type: type[Event], *, by: str | None = None, reason: str | None = None) -> None:
        """Say that an event of a class was vetoed, by a handler of this name, with this reason.

        Raises:
            AssertionError: It was not.
        """
        vetoes = self.vetoes_of(event_type)
        if not any(by in {None, veto.handler} and reason in {None, veto.reason} for veto in vetoes):
            told = "; ".join(map(str, vetoes)) or "none"
            wanted = "".join((f" by {by}" if by else "", f" with the reason {reason!r}" if reason else ""))
            raise AssertionError(f"no veto of {event_type.__name__}{wanted}; its vetoes: {told}; {self._recorded()}")

    def assert_not_vetoed(self, event_type: type[Event]) -> None:
        """Say that events of a class came, and that nobody vetoed one of them.

        Raises:
            AssertionError: None came, or one was vetoed.
        """
        if not self.of(event_type):
            raise AssertionError(f"no {event_type.__name__}; {self._recorded()}")
        if vetoes := self.vetoes_of(event_type):
            raise AssertionError(f"{event_type.__name__} was vetoed: {'; '.join(map(str, vetoes))}")

    def put(self, event: Event, outcome: Outcome | None, at: float) -> None:
        """Record an event."""
        self._records.append((event, outcome))
        news, self._news = self._news, None
        if news is not None:
            news.set()

    def status(self) -> SubscriberStatus:
        """Return how many events there are."""
        return SubscriberStatus(self.name, self.event_type, "recorder", calls=len(self._records))

    def _recorded(self, begin: int = 0) -> str:
        names: Sequence[str] = [type(event).__name__ for event in self.events[begin:]]
        return f"recorded: {', '.join(names) or 'nothing'}"


@contextmanager
def record(bus: EventBus, event_type: type[Event] = Event) -> Generator[Recorder]:
    """Record the events of a class, and of those that derive from it, for as long as the block lasts.

    They are in the order in which the emits end: an event that a handler emits comes before the handler's own.

    with record(bus) as events:
        await bus.emit(Ping())
        await events.expect(Pong, within_s=1)
    events.assert_order(Ping, Pong)
    """
    with bus.add_lane(partial(Recorder, event_type)) as recorder:
        yield recorder
