"""How long an emit to many observers holds the emitter."""

import statistics
import time
from dataclasses import dataclass

import anyio

from eventinit import EventBus
from tests.benchmarks.contender import PING, Handler, named
from tests.benchmarks.rounds import Pace, frozen_heap, without_garbage_collection

OBSERVERS = 1_000
BURST = 100
"""How many events are emitted in one go, so that all but the first find the observers busy."""


@dataclass(frozen=True, slots=True)
class Observing:
    """How long an emit holds the emitter, by the number of observers.

    Attributes:
        observers: How many there are.
        us_each: The median time of one emit that finds them idle, in microseconds for each observer.
        burst: How many emits a burst has.
        burst_us_each: The same for each emit of a burst.
    """

    observers: int
    us_each: float
    burst: int
    burst_us_each: float


async def observing(pace: Pace) -> Observing:
    """Measure single emits and bursts; before each all observers have taken what was emitted."""
    bus, crowd = EventBus(), Crowd()
    for number in range(OBSERVERS):
        bus.observe(type(PING), crowd.member(number))
    single: list[float] = []
    burst: list[float] = []
    async with bus:
        await _held_us(bus, crowd, 1)
        with frozen_heap():
            for _ in range(pace.rounds):
                single.append(await _held_us(bus, crowd, 1))
                burst.append(await _held_us(bus, crowd, BURST))
    return Observing(OBSERVERS, statistics.median(single), BURST, statistics.median(burst))


class Crowd:
    """Observers that do nothing but count what they get together."""

    def __init__(self) -> None:
        self._expected = 0
        self._seen = 0
        self._all_seen = anyio.Event()

    def member(self, number: int) -> Handler:
        """Return an observer, a function of its own."""

        async def watch(event: object) -> None:
            self._seen += 1
            if self._seen == self._expected:
                self._all_seen.set()

        return named(watch, number)

    def expect(self, events: int) -> None:
        """Say how many events the observers will get from now on, together."""
        self._expected += events
        self._all_seen = anyio.Event()

    async def idle(self) -> None:
        """Return when all of them have got theirs and wait for the next.

        Raises:
            TimeoutError: Some have not for a long time.
        """
        with anyio.fail_after(60):
            await self._all_seen.wait()
        await anyio.wait_all_tasks_blocked()


async def _held_us(bus: EventBus, crowd: Crowd, emits: int) -> float:
    crowd.expect(OBSERVERS * emits)
    with without_garbage_collection():
        started = time.perf_counter_ns()
        for _ in range(emits):
            await bus.emit(PING)
        held_ns = time.perf_counter_ns() - started
    await crowd.idle()
    return held_ns / 1e3 / OBSERVERS / emits
