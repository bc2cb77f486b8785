"""Events as an async iterator."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, cast, final

from eventinit.event import Event
from eventinit.home_loop import HomeLoop
from eventinit.lane import Filter, QueueLane
from eventinit.subscription import SubscriberStatus

E = TypeVar("E", bound=Event)


@final
class StreamLane(QueueLane):
    """A stream's place on a bus."""

    __slots__ = ()

    def __init__(
        self, event_type: type[Event], end: Callable[[Any], None], *, where: Filter | None, home: HomeLoop, size: int
    ) -> None:
        super().__init__(event_type, f"stream of {event_type.__name__}", end, where, home=home, size=size)

    async def next_event(self) -> Event:
        """Return the next event, once there is one.

        Raises:
            StopAsyncIteration: The lane has ended, and nothing is queued any more.
            BusError: The bus belongs to another event loop.
        """
        while not self._queue:
            if not self.live:
                raise StopAsyncIteration
            self._home.enter()
            await self.wait_for_news()
        self.calls += 1
        return self._queue.popleft()[1]

    def status(self) -> SubscriberStatus:
        """Return how the stream is doing."""
        return SubscriberStatus(
            self.name,
            self.event_type,
            "stream",
            calls=self.calls,
            failures=self.failures,
            queued=self.queued,
            dropped=self.dropped,
            lag_s=self.lag_s(),
        )


@final
class EventStream(Generic[E]):
    """The events of a class as they come: ``async for event in bus.stream(Ping)``.

    It gets what is emitted once it has been made, as observers see it, through a bounded queue that loses its oldest
    event when it is full. It ends, after what is queued, when it is cancelled or the bus closes. Several tasks may
    share one; each event then goes to one of them. One that nobody holds any more is cancelled by itself.
    """

    def __init__(self, lane: StreamLane) -> None:
        self._lane = lane

    @property
    def dropped(self) -> int:
        """How many events were lost because the queue was full."""
        return self._lane.dropped

    def cancel(self) -> None:
        """End the stream after what is queued; from any thread, and twice is harmless."""
        self._lane.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        return cast("E", await self._lane.next_event())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        self.cancel()
