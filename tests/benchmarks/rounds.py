"""Interleaved rounds: what disturbs the machine disturbs all contenders of a round, and ratios stay true."""

import gc
import statistics
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from tests.benchmarks.contender import Contender


@dataclass(frozen=True, slots=True)
class Times:
    """For each contender the nanoseconds of an emit in each round that it took part in, by the round's number."""

    rounds: Mapping[str, Mapping[int, float]]

    def median_ns(self, name: str) -> float:
        """Return the median over the rounds."""
        return statistics.median(self.rounds[name].values())

    def quartiles(self, name: str, baseline: str) -> tuple[float, float, float]:
        """Return the first quartile, the median and the third of the rounds' ratios to another contender."""
        base = self.rounds[baseline]
        ratios = [ns / base[number] for number, ns in self.rounds[name].items()]
        first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
        return first, median, third


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is measured.

    Attributes:
        rounds: How many rounds there are.
        seconds_each: About how long one measurement takes; short, so that most are over before another process gets
            the processor.
        slowest_emit_s: A contender whose emit takes longer is left out.
        subscriptions: How many handlers are subscribed in one go.
        observer_subscriptions: The same for observers.
    """

    rounds: int
    seconds_each: float
    slowest_emit_s: float
    subscriptions: tuple[int, ...]
    observer_subscriptions: tuple[int, ...]


SLOW_ROUNDS = 8
"""About how many rounds a contender takes part in when one of its emits takes longer than ten measurements should."""

FULL = Pace(101, 0.001, 0.2, (1_000, 10_000, 100_000), (1_000, 10_000))
QUICK = Pace(3, 0.0003, 0.003, (100, 1_000), (100, 1_000))


async def race(contenders: Mapping[str, Contender], pace: Pace) -> Times:
    """Measure every contender once a round, each round in another order; slow ones skip most rounds."""
    emits = {name: await _emits_within(pace.seconds_each, contender) for name, contender in contenders.items()}
    times: dict[str, dict[int, float]] = {name: {} for name in contenders}
    for number, names in enumerate(shuffled(list(contenders), pace.rounds)):
        for name in names:
            if number % max(1, pace.rounds // SLOW_ROUNDS) and _is_slow(times[name], pace):
                continue
            times[name][number] = await _ns_per_emit(contenders[name], emits[name])
    return Times(times)


def _is_slow(times: Mapping[int, float], pace: Pace) -> bool:
    return times[0] > pace.seconds_each * 1e10


def shuffled(names: list[str], rounds: int) -> Iterator[list[str]]:
    """Yield the names once a round, each round in another order, the same ones in every run."""
    random = Random(0)
    for _ in range(rounds):
        yield random.sample(names, len(names))


@contextmanager
def without_garbage_collection() -> Generator[None]:
    """Collect the garbage first and none inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def frozen_heap() -> Generator[None]:
    """Keep what exists now out of the collections inside the block, which are many."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _emits_within(seconds: float, contender: Contender) -> int:
    await _ns_per_emit(contender, 1)  # the first emit fills caches
    emits, target_ns = 1, seconds * 1e9
    while (ns := await _ns_per_emit(contender, emits)) * emits < target_ns / 10:
        emits *= 4
    return max(1, round(target_ns / ns))


async def _ns_per_emit(contender: Contender, emits: int) -> float:
    events = contender.events(emits)
    with without_garbage_collection():
        started = time.perf_counter_ns()
        await contender.emit_all(events)
        return (time.perf_counter_ns() - started) / emits
