"""What the bus is meant to reach, and whether it does."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks.contender import LANES, EventInit, Lane
from tests.benchmarks.dispatching import HANDLERS, Dispatch
from tests.benchmarks.observing import Observing
from tests.benchmarks.subscribing import Subscribing
from tests.benchmarks.traits import Traits

TraitsByContender = Mapping[tuple[str, Lane], Traits]

RATIO_TO_PLAIN_LOOP = {1: 2.5, 10: 1.8, 100: 1.5, 1_000: 1.5}
"""A plain event's dispatch, by the number of handlers."""

NOBODY_NS = 300
OBSERVER_US = 2.0
LINEAR_WITHIN = 2.0
"""How many times longer each of the most subscriptions may take than each of the fewest; caches alone cost some."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to reach.

    Attributes:
        name: What is measured.
        limit: The most it may be.
        measured: What it is.
        unit: What both are in.
        met: Whether it is within the limit.
    """

    name: str
    limit: float
    measured: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.measured <= self.limit


def targets_of(
    dispatch: Iterable[Dispatch],
    traits: TraitsByContender,
    nobody: Iterable[Dispatch],
    observing: Observing,
    subscribing: Sequence[Subscribing],
) -> list[Target]:
    """Compare the figures with what is to be reached."""
    cells = [cell for cell in dispatch if cell.fault is None]
    alone = next(cell for cell in nobody if cell.contender == EventInit.name)
    return [
        *_ratios(cells),
        *_fastest(cells, traits),
        Target("emit of an event that nobody subscribed to", NOBODY_NS, alone.ns, "ns"),
        Target(f"emit to {observing.observers} observers, each", OBSERVER_US, observing.us_each, "µs"),
        *_linear(subscribing),
    ]


def _ratios(cells: Iterable[Dispatch]) -> list[Target]:
    found: list[Target] = []
    for cell in cells:
        if cell.contender != EventInit.name:
            continue
        name, limit = f"{cell.handlers} {cell.lane} handlers, to the plain loop", RATIO_TO_PLAIN_LOOP[cell.handlers]
        found.append(Target(f"{name} of awaits", limit, cell.ratio, "times"))
        if cell.ratio_to_calls is not None:
            found.append(Target(f"{name} of calls (stricter)", limit, cell.ratio_to_calls, "times"))
    return found


def _fastest(cells: Sequence[Dispatch], traits: TraitsByContender) -> list[Target]:
    found: list[Target] = []
    for lane, handlers in itertools.product(LANES, HANDLERS):
        column = {cell.contender: cell for cell in cells if (cell.lane, cell.handlers) == (lane, handlers)}
        ours = column.pop(EventInit.name, None)
        rivals = [cell for name, cell in column.items() if (name, lane) in traits and traits[name, lane].isolates]
        if ours is None or not rivals:
            continue
        best = min(rivals, key=lambda cell: cell.ratio)
        name = f"{handlers} {lane} handlers, to {best.contender}, the fastest other that isolates"
        found.append(Target(name, 1.0, ours.ratio / best.ratio, "times"))
    return found


def _linear(subscribing: Sequence[Subscribing]) -> list[Target]:
    handlers = sorted((cell for cell in subscribing if cell.role == "handler"), key=lambda cell: cell.subscriptions)
    fewest, most = handlers[0], handlers[-1]
    name = f"each of {most.subscriptions} handlers, to each of {fewest.subscriptions}"
    return [
        Target(f"subscribing {name}", LINEAR_WITHIN, most.subscribe_us / fewest.subscribe_us, "times"),
        Target(f"cancelling {name}", LINEAR_WITHIN, most.cancel_us / fewest.cancel_us, "times"),
    ]
