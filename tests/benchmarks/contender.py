"""What is measured against each other: ways to bring an event to its handlers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext
from eventinit.events import PreDownload

Handler = Callable[[Any], Any]
Lane = Literal["async", "sync"]
LANES: tuple[Lane, ...] = ("async", "sync")


class Ping(Event):
    """A plain event."""

    n: int = 0


class Other(Event):
    """An event that is never emitted."""


class Contender(ABC):
    """One way to bring an event to handlers of one lane; each handler takes the event as its only argument.

    Attributes:
        name: What the table calls it.
        package: The package it needs, which its ``load`` imports; None for what is always there.
        lanes: The lanes it has.
        priorities: Whether ``add`` can put a handler before those that were added earlier.
        note: What a reader of its figures should know.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    lanes: ClassVar[tuple[Lane, ...]] = LANES
    priorities: ClassVar[bool] = False
    note: ClassVar[str] = ""

    def __init__(self, lane: Lane) -> None:
        self.lane: Lane = lane

    async def open(self) -> None:  # noqa: B027
        """Get ready to take handlers."""

    @abstractmethod
    def add(self, handler: Handler, priority: int = 0) -> None:
        """Subscribe a handler; ``priority`` other than 0 only where there are priorities."""

    def complete(self) -> None:  # noqa: B027
        """Take note that all handlers are added."""

    def events(self, count: int) -> Sequence[Any]:
        """Return the events to emit: the same one again unless the library needs new ones."""
        return [PING] * count

    @abstractmethod
    async def emit_all(self, events: Sequence[Any]) -> None:
        """Emit the events one after another, each when all handlers have finished with the one before."""

    async def aclose(self) -> None:  # noqa: B027
        """End what was started."""


PING = Ping()


class PlainLoop(Contender):
    """What everything is compared with: a loop over a list of handlers."""

    name = "plain loop"

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self._handlers: list[Handler] = []

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._handlers.append(handler)

    async def emit_all(self, events: Sequence[Any]) -> None:
        plain, handlers = (_plain if self.lane == "async" else _plain_sync), self._handlers
        for event in events:
            await plain(handlers, event)


async def _plain(handlers: list[Handler], event: Any) -> None:
    for handler in handlers:
        await handler(event)


async def _plain_sync(handlers: list[Handler], event: Any) -> None:
    for handler in handlers:
        handler(event)


class EventInit(Contender):
    """The bus of this project, with a plain event."""

    name = "eventinit"
    priorities = True
    event: Event = PING

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.bus = EventBus()

    def add(self, handler: Handler, priority: int = 0) -> None:
        self.bus.on(type(self.event), handler, priority=priority)

    def events(self, count: int) -> Sequence[Any]:
        return [self.event] * count

    async def emit_all(self, events: Sequence[Any]) -> None:
        emit = self.bus.emit
        for event in events:
            await emit(event)


class EventInitLifecycle(EventInit):
    """The bus of this project, with an event that carries a context and is audited."""

    name = "eventinit, lifecycle event"
    event = PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m")))


def no_ops(lane: Lane, count: int) -> list[Handler]:
    """Return handlers that do nothing, each a function of its own with a name of its own."""
    make = _async_no_op if lane == "async" else _sync_no_op
    return [named(make(), number) for number in range(count)]


def named(handler: Handler, number: int) -> Handler:
    """Give a handler a name of its own, which some libraries tell handlers apart by."""
    handler.__name__ = handler.__qualname__ = f"handler_{number}"
    return handler


def _async_no_op() -> Handler:
    async def handler(event: Any) -> None:
        pass

    return handler


def _sync_no_op() -> Handler:
    def handler(event: Any) -> None:
        pass

    return handler
