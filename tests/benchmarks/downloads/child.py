"""The process that one contender downloads in, once: ``python -m tests.benchmarks.downloads.child TASK``.

The argument is JSON; so is the line that is printed.
"""

import gc
import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.downloads.contenders import CONTENDERS
from tests.benchmarks.downloads.pauses import PauseWatch, Span, without
from tests.benchmarks.downloads.task import Notes, Task

_HASHERS = 2


@dataclass(frozen=True, slots=True)
class Figures:
    """What one download took.

    Attributes:
        seconds: From the first request to the last file, the hashing included that makes verification equal.
        startup_s: From the start of the process to the first request.
        sync_s: How long it took afterwards until everything was on the disk.
        cpu_s: Processor time of the process and of those it started, without start-up.
        peak_bytes: The largest resident memory of the process, interpreter and imports included, plus that of those
            it started; of a program that is its own process, just its own.
        idle_bytes: What of that was there before the first request.
        lag_ms: The latest tick of the event loop.
        unpaused_lag_ms: The same without the time in which the whole machine stood still, where that is known.
        typical_lag_ms: The 99th percentile of the first.
        folder: Where the files are.
    """

    seconds: float
    startup_s: float
    sync_s: float
    cpu_s: float
    peak_bytes: int
    idle_bytes: int
    lag_ms: float | None
    unpaused_lag_ms: float | None
    typical_lag_ms: float | None
    folder: str


def main(argument: str) -> None:
    """Download and print what it took."""
    asked = json.loads(argument)
    task = Task(asked["case"], asked["uri"], Path(asked["folder"]), Path(asked["origin"]), asked["checksums"])
    print(json.dumps(asdict(measure(asked["contender"], task, asked["started"]))))


def measure(name: str, task: Task, process_started: float) -> Figures:
    """Let a contender download, and return what it took."""
    contender, notes = CONTENDERS[name](), Notes()
    contender.prepare()
    prepared_at = time.monotonic()
    gc.collect()  # what the imports have left is not the download's
    watch = PauseWatch()
    idle, cpu = _memory("VmRSS"), _cpu_s()
    started = time.monotonic()
    folder = contender.fetch(task, notes)
    if task.checksums and not contender.hashes:
        _compare(folder, task)
    ended = time.monotonic()
    cpu = _cpu_s() - cpu
    peak = notes.peak_bytes or _memory("VmHWM") + _peak_of_children()
    os.sync()
    synced_at = time.monotonic()
    pauses = watch.end()
    lags = sorted(end - due for due, end in notes.ticks)
    return Figures(
        seconds=ended - started - notes.startup_s * _RUNS_OF_PROGRAM,
        startup_s=prepared_at - process_started if not notes.startup_s else notes.startup_s,
        sync_s=synced_at - ended,
        cpu_s=cpu,
        peak_bytes=peak,
        idle_bytes=idle,
        lag_ms=lags[-1] * 1000 if lags else None,
        unpaused_lag_ms=_unpaused_lag_ms(notes.ticks, pauses),
        typical_lag_ms=lags[int(len(lags) * 0.99)] * 1000 if lags else None,
        folder=str(folder),
    )


_RUNS_OF_PROGRAM = 2
"""A program is started once to do nothing, and once for the download: neither start counts."""


def _unpaused_lag_ms(ticks: Sequence[Span], pauses: Sequence[Span] | None) -> float | None:
    return max(without(tick, pauses) for tick in ticks) * 1000 if ticks and pauses is not None else None


def _compare(folder: Path, task: Task) -> None:
    """Compare every file with the store's checksum, as whoever wants the same certainty has to."""
    paths = [folder / name for name in task.checksums]
    with ThreadPoolExecutor(_HASHERS) as threads:
        found = dict(zip(task.checksums, threads.map(partial(_digest, task.algorithm), paths), strict=True))
    if found != task.checksums:
        raise RuntimeError("a checksum is wrong")


def _digest(algorithm: str, path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _cpu_s() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _peak_of_children() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _memory(line: str) -> int:
    # Not ru_maxrss: a process inherits it from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1])
