"""All simulated starts, in one value."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

from eventinit.config import Distribution
from tests.benchmarks.machine import Machine, this_machine
from tests.benchmarks.rounds import shuffled
from tests.benchmarks.simulation.course import Figures
from tests.benchmarks.simulation.hardware import Hardware
from tests.benchmarks.targets import Target

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
BASELINE = 100
"""The number of nodes that the costs of larger clusters are compared with."""

LINEAR_WITHIN = 1.2
"""How many times as much each of the most nodes may cost as each of the baseline's."""

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Result:
    """The starts with one number of nodes, distributed in one way."""

    nodes: int
    distribution: Distribution
    rounds: Sequence[Figures]

    def median(self, figure: Callable[[Figures], float]) -> float:
        """Return the median of a figure over the rounds."""
        return median(map(figure, self.rounds))

    @property
    def cpu_ms_each(self) -> float:
        """The processor time for each node, in milliseconds."""
        return self.median(lambda figures: figures.cpu_s) / self.nodes * 1e3

    @property
    def growth_kb_each(self) -> float:
        """The memory for each node, in kilobytes."""
        return self.median(lambda figures: figures.growth_bytes) / self.nodes / 1e3


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure."""

    machine: Machine
    hardware: Hardware
    results: Sequence[Result]
    targets: Sequence[Target]

    def as_json(self) -> dict[str, Any]:
        """Return the report as what JSON can hold, with the verdicts of the targets."""
        return asdict(self) | {"targets": [asdict(target) | {"met": target.met} for target in self.targets]}


def measure(sizes: Sequence[int], rounds: int) -> Report:
    """Simulate a start of each size in each way once a round, each in a process of its own."""
    cells: dict[str, tuple[int, Distribution]] = {
        f"{nodes} {how}": (nodes, how) for nodes in sizes for how in DISTRIBUTIONS
    }
    found: dict[str, list[Figures]] = {name: [] for name in cells}
    for names in shuffled(list(cells), rounds):
        for name in names:
            found[name].append(_in_a_process(*cells[name]))
    results = [Result(*cells[name], figures) for name, figures in found.items()]
    return Report(this_machine(["eventinit", "anyio", "trio", "pydantic"]), Hardware(), results, targets_of(results))


def baseline_of(result: Result, results: Sequence[Result]) -> Result:
    """Return what a result is compared with: its distribution to 100 nodes, or the size that is closest to that."""
    alike = (other for other in results if other.distribution == result.distribution)
    return min(alike, key=lambda other: abs(other.nodes - BASELINE))


def targets_of(results: Sequence[Result]) -> list[Target]:
    """Compare what each of the most nodes costs with what each of the baseline's does."""
    most = max(result.nodes for result in results)
    found: list[Target] = []
    for result in (result for result in results if result.nodes == most):
        base = baseline_of(result, results)
        name = f"{result.distribution}, each of {most} nodes to each of {base.nodes}"
        ratio = result.cpu_ms_each / base.cpu_ms_each
        found.append(Target(f"{name}: processor time", LINEAR_WITHIN, ratio, "times"))
        if base.growth_kb_each > 0:
            ratio = result.growth_kb_each / base.growth_kb_each
            found.append(Target(f"{name}: memory", LINEAR_WITHIN, ratio, "times"))
    return found


def _in_a_process(nodes: int, distribution: Distribution) -> Figures:
    command = [sys.executable, "-m", "tests.benchmarks.simulation.child", str(nodes), distribution]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Figures(**json.loads(printed))
