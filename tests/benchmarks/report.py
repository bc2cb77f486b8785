"""All that is measured, in one value."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.contender import Contender, EventInit, Lane, PlainLoop
from tests.benchmarks.dispatching import PLAIN_ASYNC, PLAIN_SYNC, Dispatch, dispatch, lifecycle, nobody
from tests.benchmarks.machine import Machine, this_machine
from tests.benchmarks.observing import Observing, observing
from tests.benchmarks.other_buses import OTHER_BUSES, version_of
from tests.benchmarks.rounds import Pace
from tests.benchmarks.subscribing import Memory, Subscribing, memory, subscribing
from tests.benchmarks.targets import Target, targets_of
from tests.benchmarks.traits import Traits, traits_of


@dataclass(frozen=True, slots=True)
class ContenderTraits:
    """What was found out about one contender in one lane by trying it; see ``Traits``."""

    name: str
    lane: Lane
    isolates: bool
    order: str
    priorities: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure; ``left_out`` says which contenders there are none of, and why."""

    machine: Machine
    left_out: dict[str, str]
    notes: dict[str, str]
    contenders: Sequence[ContenderTraits]
    dispatch: Sequence[Dispatch]
    lifecycle: Sequence[Dispatch]
    nobody: Sequence[Dispatch]
    observing: Observing
    subscribing: Sequence[Subscribing]
    memory: Memory
    targets: Sequence[Target]

    def as_json(self) -> dict[str, Any]:
        """Return the report as what JSON can hold, with the verdicts of the targets."""
        verdicts = [asdict(target) | {"met": target.met} for target in self.targets]
        return asdict(self) | {"targets": verdicts}


async def measure(pace: Pace) -> Report:
    """Try out and measure everything."""
    packages = [kind.package for kind in OTHER_BUSES if kind.package]
    installed = [kind for kind in OTHER_BUSES if kind.package and version_of(kind.package)]
    kinds: list[type[Contender]] = [EventInit, *installed]
    traits: dict[tuple[str, Lane], Traits] = {
        (kind.name, lane): await traits_of(kind, lane) for kind in kinds for lane in kind.lanes
    }
    traits[PLAIN_ASYNC, "async"] = await traits_of(PlainLoop, "async")
    traits[PLAIN_SYNC, "sync"] = await traits_of(PlainLoop, "sync")
    found = await dispatch(kinds, pace)
    empty = await nobody(pace)
    watched = await observing(pace)
    subscribed = await subscribing(pace)
    return Report(
        machine=this_machine(dict.fromkeys(["eventinit", *packages])),
        left_out={kind.name: f"{kind.package} is not installed" for kind in OTHER_BUSES if kind not in installed},
        notes={kind.name: kind.note for kind in installed if kind.note},
        contenders=[_described(name, lane, tried) for (name, lane), tried in traits.items()],
        dispatch=found,
        lifecycle=await lifecycle(pace),
        nobody=empty,
        observing=watched,
        subscribing=subscribed,
        memory=await memory(),
        targets=targets_of(found, traits, empty, watched, subscribed),
    )


def _described(name: str, lane: Lane, traits: Traits) -> ContenderTraits:
    return ContenderTraits(name, lane, traits.isolates, traits.order, traits.priorities)
