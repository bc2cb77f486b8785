"""Events for tests of the bus by itself."""

from eventinit import Event, EventBus


class Ping(Event):
    n: int = 0


class LoudPing(Ping):
    pass


class Other(Event):
    pass


async def emit(bus: EventBus, *numbers: int) -> None:
    """Emit a ping for each number."""
    for n in numbers:
        await bus.emit(Ping(n=n))
