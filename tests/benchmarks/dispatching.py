"""How long an event takes to its handlers."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.benchmarks.contender import (
    LANES,
    Contender,
    EventInit,
    EventInitLifecycle,
    Lane,
    Other,
    PlainLoop,
    no_ops,
)
from tests.benchmarks.rounds import Pace, Times, frozen_heap, race
from tests.benchmarks.traits import fault_of, quietly

HANDLERS = (1, 10, 100, 1_000)
LIFECYCLE_HANDLERS = (1, 10, 100)
BYSTANDERS = 100
"""How many handlers, or observers, of another event there are beside the event that nobody subscribed to."""

PLAIN_ASYNC = "plain loop of awaits"
PLAIN_SYNC = "plain loop of calls"


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What an emit costs with some number of handlers.

    Attributes:
        lane: Which kind of handlers.
        handlers: How many.
        contender: Who brought the event to them.
        ns: The median time of an emit in nanoseconds.
        ratio: The median ratio to the plain loop of awaits over async handlers of the same round.
        quartiles: The first and third quartile of that ratio.
        ratio_to_calls: The median ratio to the plain loop of calls, for the sync lane.
        fault: Why it was left out; the figures are 0 then.
    """

    lane: Lane
    handlers: int
    contender: str
    ns: float = 0
    ratio: float = 0
    quartiles: tuple[float, float] = (0, 0)
    ratio_to_calls: float | None = None
    fault: str | None = None


async def dispatch(kinds: Iterable[type[Contender]], pace: Pace) -> list[Dispatch]:
    """Measure a plain event in both lanes with every number of handlers."""
    kinds = list(kinds)
    found: list[Dispatch] = []
    for lane in LANES:
        known: dict[str, Dispatch] = {}
        for handlers in HANDLERS:
            cells = await _cells(kinds, lane, handlers, known, pace)
            known |= {cell.contender: cell for cell in cells}
            found += cells
    return found


async def lifecycle(pace: Pace) -> list[Dispatch]:
    """Measure an audited event with a context beside a plain event, with async handlers."""
    found: list[Dispatch] = []
    for handlers in LIFECYCLE_HANDLERS:
        kinds = (EventInit, EventInitLifecycle)
        contenders: dict[str, Contender] = {PLAIN_ASYNC: PlainLoop("async")}
        contenders |= {kind.name: kind("async") for kind in kinds}
        times = await _race_with(contenders, handlers, pace)
        found += [_cell(times, "async", handlers, name) for name in times.rounds]
    return found


async def nobody(pace: Pace) -> list[Dispatch]:
    """Measure the emit of an event that nobody subscribed to; what others wait for is another event."""
    alone, beside_handlers, beside_observers = (EventInit("async") for _ in range(3))
    for handler in no_ops("async", BYSTANDERS):
        beside_handlers.bus.on(Other, handler)
        beside_observers.bus.observe(Other, handler)
    contenders: dict[str, Contender] = {
        PLAIN_ASYNC: PlainLoop("async"),
        "eventinit": alone,
        f"eventinit with {BYSTANDERS} handlers of another event": beside_handlers,
        f"eventinit with {BYSTANDERS} observers of another event": beside_observers,
    }
    times = await _race_with(contenders, 0, pace)
    return [_cell(times, "async", 0, name) for name in times.rounds]


async def _cells(
    kinds: Iterable[type[Contender]], lane: Lane, handlers: int, known: dict[str, Dispatch], pace: Pace
) -> list[Dispatch]:
    contenders: dict[str, Contender] = {PLAIN_ASYNC: PlainLoop("async")}
    if lane == "sync":
        contenders[PLAIN_SYNC] = PlainLoop("sync")
    left_out: list[Dispatch] = []
    for kind in (kind for kind in kinds if lane in kind.lanes):
        fault = _known_fault(known.get(kind.name), pace) or await _fault(kind, lane, handlers)
        if fault is None:
            contenders[kind.name] = kind(lane)
        else:
            left_out.append(Dispatch(lane, handlers, kind.name, fault=fault))
    times = await _race_with(contenders, handlers, pace)
    return [_cell(times, lane, handlers, name) for name in times.rounds] + left_out


def _known_fault(known: Dispatch | None, pace: Pace) -> str | None:
    if known is None or known.fault is not None:
        return None if known is None else known.fault
    # With ten times the handlers an emit takes about ten times as long.
    return "too slow" if known.ns * 10 > pace.slowest_emit_s * 1e9 else None


async def _fault(kind: type[Contender], lane: Lane, handlers: int) -> str | None:
    with quietly():
        fault = await fault_of(kind, lane, handlers)
    if fault is not None and issubclass(kind, EventInit):
        raise RuntimeError(f"eventinit {fault}; mend that before measuring")
    return fault


async def _race_with(contenders: dict[str, Contender], handlers: int, pace: Pace) -> Times:
    with quietly():
        for contender in contenders.values():
            await contender.open()
            for handler in no_ops(contender.lane, handlers):
                contender.add(handler)
            contender.complete()
        try:
            with frozen_heap():
                return await race(contenders, pace)
        finally:
            for contender in contenders.values():
                await contender.aclose()


def _cell(times: Times, lane: Lane, handlers: int, name: str) -> Dispatch:
    first, median, third = times.quartiles(name, PLAIN_ASYNC)
    to_calls = times.quartiles(name, PLAIN_SYNC)[1] if PLAIN_SYNC in times.rounds else None
    return Dispatch(lane, handlers, name, times.median_ns(name), median, (first, third), to_calls)
