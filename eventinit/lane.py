"""A place on a bus for whoever watches events without taking part."""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from anyio import Event as Signal

from eventinit import clock
from eventinit.event import Event
from eventinit.home_loop import HomeLoop
from eventinit.logs import log_event
from eventinit.outcome import Outcome
from eventinit.subscription import Subscription, check_filter

Filter = Callable[[Any], bool]


class Lane(Subscription):
    """Is shown each event of a class once the event's handlers have run.

    Attributes:
        where: Called with the event; the lane is not shown it when this returns False. None lets all through.
        failures: How many events it failed on.
    """

    __slots__ = ("failures", "where")

    def __init__(self, event_type: type[Event], name: str, end: Callable[[Any], None], where: Filter | None) -> None:
        check_filter(where)
        super().__init__(event_type, name, end)
        self.where = where
        self.failures = 0

    def accepts(self, event: Event) -> bool:
        """Return whether the filter lets an event through; if it fails, that counts as a failure of the lane."""
        try:
            return self.where is None or bool(self.where(event))
        except Exception as error:  # noqa: BLE001
            self.note_failure(event, error)
            return False

    def note_failure(self, event: Event, error: BaseException) -> None:
        """Count and log a failure."""
        self.failures += 1
        fields = {"observer": self.name, "event": type(event).__name__, "failures": self.failures}
        log_event(logging.ERROR, "observer_failed", error, **fields)

    @abstractmethod
    def put(self, event: Event, outcome: Outcome | None, at: float) -> None:
        """Take an event, what came of it (None when the emit was cancelled), and when that was on the clock."""


class QueueLane(Lane):
    """A lane with a bounded queue; when that is full it loses its oldest event.

    Attributes:
        calls: How many events were taken out of the queue.
        dropped: How many events were lost because the queue was full.
    """

    __slots__ = ("_home", "_news", "_queue", "calls", "dropped")

    def __init__(
        self,
        event_type: type[Event],
        name: str,
        end: Callable[[Any], None],
        where: Filter | None,
        *,
        home: HomeLoop,
        size: int,
    ) -> None:
        super().__init__(event_type, name, end, where)
        self._home = home
        self._queue: deque[tuple[float, Event]] = deque(maxlen=size)
        self._news: Signal | None = None
        self.calls: int = 0
        self.dropped: int = 0

    def put(self, event: Event, outcome: Outcome | None, at: float) -> None:  # noqa: ARG002
        """Queue an event."""
        if len(self._queue) == self._queue.maxlen:
            self._lose_one()
        self._queue.append((at, event))
        news = self._news
        if news is not None:
            self._news = None
            self._announce(news)

    def _lose_one(self) -> None:
        self.dropped += 1
        if self.dropped == 1:
            remedy = "open the bus (async with bus:), or be quicker; subscribers() tells how many are lost"
            fields = {"subscriber": self.name, "queue_size": self._queue.maxlen, "remedy": remedy}
            log_event(logging.WARNING, "events_lost", **fields)

    def cancel(self) -> None:
        """End the subscription, and whoever waits for its events."""
        super().cancel()
        self._home.call_soon(self._ring)

    def forget_loop(self) -> None:
        """Begin anew, since the event loop is over on which somebody waited."""
        self._news = None

    async def wait_for_news(self) -> None:
        """Return when an event was queued or the lane has ended."""
        if self._news is None:
            self._news = Signal()
        await self._news.wait()

    def _announce(self, news: Signal) -> None:
        news.set()

    def _ring(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set()

    @property
    def queued(self) -> int:
        """How many events wait."""
        return len(self._queue)

    def lag_s(self) -> float:
        """Return for how many seconds the oldest event has been waiting."""
        try:
            return clock.monotonic() - self._queue[0][0]
        except IndexError:  # looked at first, it could be emptied meanwhile: any thread may ask
            return 0.0
