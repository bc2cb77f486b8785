"""What downloads are meant to reach, and whether they do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.downloads.child import Figures
from tests.benchmarks.downloads.libraries import RayCloudFileSystem
from tests.benchmarks.downloads.ours import EventInit, EventInitFull, EventInitHub
from tests.benchmarks.downloads.programs import S5cmd
from tests.benchmarks.downloads.race import Results
from tests.benchmarks.downloads.task import Case

OURS = {EventInit.name, EventInitFull.name, EventInitHub.name}
FASTEST_RATIO = 0.95
RAY_RATIO: dict[Case, float] = {"large": 2.0, "small": 3.0}
PEAK_MB = 200.0
LAG_MS = 20.0

CaseResults = Mapping[Case, Mapping[str, Results]]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to reach.

    Attributes:
        name: What is measured.
        limit: The least or the most it may be; None for what is only of interest.
        measured: What it is.
        unit: What both are in.
        at_least: Whether the limit is the least.
    """

    name: str
    limit: float | None
    measured: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        if self.limit is None:
            return True
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.limit is None:
            return "no target"
        return "met" if self.met else f"missed by {abs(self.measured - self.limit):.2f} {self.unit}"


def targets_of(results: CaseResults) -> list[Target]:
    """Compare the figures with what is to be reached."""
    return [target for case, found in results.items() for target in _targets(case, found)]


def speed_to(ours: Results, other: Results, *, until_synced: bool = False) -> float:
    """Return how many times as fast ours is, as the median of the rounds that both took part in."""
    shared = ours.rounds.keys() & other.rounds.keys()

    def seconds(figures: Figures) -> float:
        return figures.seconds + figures.sync_s * until_synced

    return median(seconds(other.rounds[number]) / seconds(ours.rounds[number]) for number in shared)


def rivals(found: Mapping[str, Results]) -> dict[str, Results]:
    """Return the others that finished; what stands in brackets is no downloader."""
    return {
        name: result
        for name, result in found.items()
        if name not in OURS and not name.startswith("(") and result.rounds
    }


def _targets(case: Case, found: Mapping[str, Results]) -> Iterable[Target]:
    ours, others = found.get(_who(case)), rivals(found)
    if ours is None or not ours.rounds:
        return
    for until_synced in (False, True) if case != "small" else ():
        when = "until all is on the disk" if until_synced else "until it returns"
        speeds = {name: speed_to(ours, other, until_synced=until_synced) for name, other in others.items()}
        unlisted = speeds.pop(S5cmd.name, None)
        if speeds:
            fastest = min(speeds, key=lambda name: speeds[name])
            name = f"{case}: speed to {fastest}, the fastest other, {when}"
            yield Target(name, FASTEST_RATIO, speeds[fastest], "times", True)
        if unlisted is not None:
            yield Target(f"{case}: speed to {S5cmd.name} (not in the list), {when}", None, unlisted, "times", True)
    ray = others.get(RayCloudFileSystem.name)
    if ray and case in RAY_RATIO:
        yield Target(f"{case}: speed to {RayCloudFileSystem.name}", RAY_RATIO[case], speed_to(ours, ray), "times", True)
    yield Target(f"{case}: peak memory", PEAK_MB, max(f.peak_bytes for f in ours.rounds.values()) / 1e6, "MB")
    lags = [f.lag_ms for f in ours.rounds.values() if f.lag_ms is not None]
    unpaused = [f.unpaused_lag_ms for f in ours.rounds.values() if f.unpaused_lag_ms is not None]
    yield Target(f"{case}: event-loop lag, the median round's greatest", LAG_MS, median(lags), "ms")
    if unpaused:
        yield Target(f"{case}: the same without pauses of the machine", LAG_MS, median(unpaused), "ms")


def _who(case: Case) -> str:
    return {"large, hashed": EventInitFull.name, "hub": EventInitHub.name}.get(case, EventInit.name)
