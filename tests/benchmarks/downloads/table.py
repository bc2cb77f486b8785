"""The figures as Markdown tables, which read well in a terminal too."""

from collections.abc import Iterator, Mapping

from tests.benchmarks.downloads.child import Figures
from tests.benchmarks.downloads.contenders import CONTENDERS
from tests.benchmarks.downloads.race import Results
from tests.benchmarks.downloads.report import Report
from tests.benchmarks.downloads.targets import OURS, Target
from tests.benchmarks.downloads.task import Case
from tests.benchmarks.machine import MEMORY_RETURNED
from tests.benchmarks.table import Row, grid

_TITLES: dict[Case, str] = {
    "large": "Large files, verified by size: the store has no checksum of them",
    "large, hashed": "Large files, each compared with the store's MD5",
    "small": "Small files",
    "hub": "Large files of a Hub, in Python",
}
_HEADER = ["contender", "s", "MB/s", "files/s", "s on disk", "CPU s", "server CPU s", "peak MB", "start-up s", "rounds"]


def as_text(report: Report) -> str:
    """Return the whole report for people."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    machine = report.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)
    yield f"{machine.date}, {machine.cpu}, {machine.cpus} CPUs, {machine.system}, {machine.python}; {libraries}"
    if machine.returns_memory:
        yield f"free memory goes back to the host, and slows whoever uses it again: see {MEMORY_RETURNED} in README.md"
    for name, reason in report.left_out.items():
        yield f"left out: {name}: {reason}"
    for case, results in report.results.items():
        files, size = report.sizes[case]
        yield f"\n## {_TITLES[case]}: {files:,} files, {size / 1e9:.2f} GB\n"
        yield from _case(results, files, size)
    yield ""
    for name, kind in CONTENDERS.items():
        if kind.note:
            yield f"- {name}: {kind.note}"
    yield "\n## Targets\n"
    yield from grid(["", "target", "limit", "measured"], [_verdict(target) for target in report.targets])


def _verdict(target: Target) -> Row:
    bound = "at least" if target.at_least else "at most"
    limit = "-" if target.limit is None else f"{bound} {target.limit:g} {target.unit}"
    return [target.verdict, target.name, limit, f"{target.measured:.2f} {target.unit}"]


def _case(results: Mapping[str, Results], files: int, size: int) -> Iterator[str]:
    finished = {name: result for name, result in results.items() if result.rounds}
    names = sorted(finished, key=lambda name: finished[name].median(lambda figures: figures.seconds))
    yield from grid(_HEADER, [_row(name, finished[name], files, size) for name in names])
    for name, result in results.items():
        if result.failure:
            yield f"{name}: {result.failure}"
    for name in OURS & finished.keys():
        lags = ", ".join(map(_lag, finished[name].rounds.values()))
        said = "the event loop's greatest lag in each round (without pauses of the machine; 99th percentile of all)"
        yield f"\n{name}: {said}, ms: {lags}"


def _lag(figures: Figures) -> str:
    unpaused = "not known" if figures.unpaused_lag_ms is None else f"{figures.unpaused_lag_ms:.1f}"
    return f"{figures.lag_ms:.1f} ({unpaused}; {figures.typical_lag_ms:.1f})"


def _row(name: str, result: Results, files: int, size: int) -> Row:
    seconds = result.median(lambda figures: figures.seconds)
    peak = result.median(lambda figures: figures.peak_bytes) / 1e6
    idle = result.median(lambda figures: figures.idle_bytes) / 1e6
    return [
        name,
        f"{seconds:.2f}",
        f"{size / seconds / 1e6:,.0f}",
        f"{files / seconds:,.0f}",
        f"{result.median(lambda figures: figures.seconds + figures.sync_s):.2f}",
        f"{result.median(lambda figures: figures.cpu_s):.2f}",
        f"{sum(result.server_cpu_s) / len(result.server_cpu_s):.2f}",
        f"{peak:.0f} ({idle:.0f})",
        f"{result.median(lambda figures: figures.startup_s):.2f}",
        str(len(result.rounds)),
    ]
