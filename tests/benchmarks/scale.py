"""What a start costs when the cluster has a thousand nodes: the real initializer and bus in virtual time.

    make bench-scale        (or: python tests/benchmarks/scale.py [--json] [--quick] [--nodes N ...] [--rounds N])

Prints a table, or one JSON object with every figure. The cluster, the store and the engine are simulated, so it needs
neither. What is slow is said and is no failure.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.simulation.report import Report, Result, baseline_of, measure
from tests.benchmarks.table import grid, verdict

SIZES = (1, 10, 100, 300, 1_000)
QUICK_SIZES = (10, 20)
HEADER = [
    "distribution",
    "nodes",
    "s",
    "CPU s",
    "virtual s",
    "read from the store",
    "events",
    "events per s",
    "longest step, ms",
    "MB",
    "CPU ms a node",
    "compared",
]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure what a start costs on simulated clusters.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="one round with few nodes: rough figures")
    parser.add_argument("--nodes", type=int, action="append", help="how many nodes, once for each size (1 to 1,000)")
    parser.add_argument("--rounds", type=int, help="how many rounds (3)")
    options = parser.parse_args(arguments)
    sizes = options.nodes or (QUICK_SIZES if options.quick else SIZES)
    report = measure(sizes, options.rounds or (1 if options.quick else 3))
    print(json.dumps(report.as_json(), indent=2) if options.json else "\n".join(_lines(report)))
    return 0


def _lines(report: Report) -> Iterator[str]:
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield f"{machine.date}, {machine.cpu}, {machine.cpus} CPUs, {machine.system}, {machine.python}; {libraries}\n"
    results = sorted(report.results, key=lambda result: (result.distribution, result.nodes))
    yield from grid(HEADER, [_row(result, results, report.hardware.model_bytes) for result in results])
    yield ""
    yield from grid(["", "target", "at most", "measured"], [verdict(target) for target in report.targets])


def _row(result: Result, results: Sequence[Result], model_bytes: int) -> list[str]:
    seconds = result.median(lambda figures: figures.seconds)
    events = result.median(lambda figures: figures.emitted)
    base = baseline_of(result, results)
    return [
        result.distribution,
        f"{result.nodes:,}",
        f"{seconds:.2f}",
        f"{result.median(lambda figures: figures.cpu_s):.2f}",
        f"{result.median(lambda figures: figures.virtual_s):,.0f}",
        f"{result.median(lambda figures: figures.store_bytes) / model_bytes:,.0f} times",
        f"{events:,.0f}",
        f"{events / seconds:,.0f}",
        f"{result.median(lambda figures: figures.longest_step_s) * 1e3:.1f}",
        f"{result.median(lambda figures: figures.growth_bytes) / 1e6:.1f}",
        f"{result.cpu_ms_each:.1f}",
        f"{result.cpu_ms_each / base.cpu_ms_each:.2f} times that of {base.nodes}",
    ]


if __name__ == "__main__":
    sys.exit(main())
