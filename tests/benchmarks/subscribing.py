"""What subscriptions cost: to make, to cancel and to keep."""

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from eventinit import EventBus, Subscription
from tests.benchmarks.contender import PING, Handler, no_ops
from tests.benchmarks.rounds import Pace, frozen_heap, shuffled, without_garbage_collection

MEASURED_MEMORY_OF = 1_000
MOST_REPEATS = 5

Role = Literal["handler", "observer"]


@dataclass(frozen=True, slots=True)
class Subscribing:
    """What one subscription costs when so many are made.

    Attributes:
        role: Of a handler or of an observer.
        subscriptions: How many were made.
        subscribe_us: The median time to make one, in microseconds.
        first_emit_us: The median time of the first emit after that, for each of them.
        cancel_us: The median time to cancel one; they are cancelled in random order.
    """

    role: Role
    subscriptions: int
    subscribe_us: float
    first_emit_us: float
    cancel_us: float


@dataclass(frozen=True, slots=True)
class Memory:
    """How many bytes one subscription keeps, its handler not counted.

    Attributes:
        handler: A handler's.
        observer: An observer's while the bus is closed.
        observer_at_work: An observer's while the bus is open and its lane is served.
    """

    handler: int
    observer: int
    observer_at_work: int


async def subscribing(pace: Pace) -> list[Subscribing]:
    """Measure subscriptions of both roles in every number, a few times in interleaved rounds."""
    sizes: dict[str, tuple[Role, int]] = {f"handler {n}": ("handler", n) for n in pace.subscriptions}
    sizes |= {f"observer {n}": ("observer", n) for n in pace.observer_subscriptions}
    costs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sizes}
    with frozen_heap():
        for names in shuffled(list(sizes), min(pace.rounds, MOST_REPEATS)):
            for name in names:
                costs[name].append(await _cost_us(*sizes[name]))
    return [Subscribing(*sizes[name], *_medians(costs[name])) for name in sizes]


async def memory() -> Memory:
    """Measure what subscriptions keep."""
    return Memory(
        handler=await _bytes_each("handler", opened=False),
        observer=await _bytes_each("observer", opened=False),
        observer_at_work=await _bytes_each("observer", opened=True),
    )


async def _cost_us(role: Role, count: int) -> tuple[float, float, float]:
    bus, handlers = EventBus(), no_ops("async", count)
    subscribe = _subscriber(bus, role)
    with without_garbage_collection():
        began = time.perf_counter_ns()
        subscriptions = [subscribe(handler) for handler in handlers]
        subscribed = time.perf_counter_ns()
        await bus.emit(PING)
        emitted = time.perf_counter_ns()
    Random(0).shuffle(subscriptions)
    with without_garbage_collection():
        cancelling = time.perf_counter_ns()
        for subscription in subscriptions:
            subscription.cancel()
        cancelled = time.perf_counter_ns()
    spans = (subscribed - began, emitted - subscribed, cancelled - cancelling)
    subscribe_us, first_emit_us, cancel_us = (ns / 1e3 / count for ns in spans)
    return subscribe_us, first_emit_us, cancel_us


def _medians(costs: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    subscribe_us, first_emit_us, cancel_us = (statistics.median(column) for column in zip(*costs, strict=True))
    return subscribe_us, first_emit_us, cancel_us


async def _bytes_each(role: Role, *, opened: bool) -> int:
    bus, handlers = EventBus(), no_ops("async", MEASURED_MEMORY_OF)
    subscribe = _subscriber(bus, role)
    subscribe(_warm_up)
    if opened:
        await bus.open()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        subscriptions = [subscribe(handler) for handler in handlers]
        # Each has taken one event, so whatever is made at the first one is there.
        await bus.emit(PING)
        for subscription in subscriptions:
            if opened:
                await subscription.drained()
        gc.collect()
        return round((tracemalloc.get_traced_memory()[0] - before) / len(subscriptions))
    finally:
        tracemalloc.stop()
        if opened:
            await bus.aclose()


def _subscriber(bus: EventBus, role: Role) -> Callable[[Handler], Subscription]:
    method = bus.on if role == "handler" else bus.observe
    return lambda handler: method(type(PING), handler)


async def _warm_up(event: object) -> None:
    pass
