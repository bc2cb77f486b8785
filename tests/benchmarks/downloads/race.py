"""Interleaved rounds of downloads, each in a process of its own, into a fresh folder of the same disk."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tests.benchmarks.downloads.child import Figures
from tests.benchmarks.downloads.contenders import CONTENDERS
from tests.benchmarks.downloads.data import Data, differences
from tests.benchmarks.downloads.task import Case
from tests.benchmarks.rounds import shuffled

ROOT = Path(__file__).resolve().parents[3]
SLOW_S = 30.0
"""Who takes longer takes part in the first round only."""

_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Course:
    """What all contenders of a case download.

    Attributes:
        case: The case.
        uri: Where from.
        data: The files.
        checksums: Their checksums, where these are compared.
        environment: How the server is reached.
        server_pid: The process that answers.
    """

    case: Case
    uri: str
    data: Data
    checksums: Mapping[str, str]
    environment: Mapping[str, str]
    server_pid: int


@dataclass(slots=True)
class Results:
    """What a contender took in each round that it took part in, by the round's number."""

    rounds: dict[int, Figures] = field(default_factory=dict[int, Figures])
    server_cpu_s: list[float] = field(default_factory=list[float])
    failure: str | None = None

    def median(self, figure: Callable[[Figures], float]) -> float:
        """Return the median of a figure over the rounds."""
        return median(map(figure, self.rounds.values()))


def race(course: Course, names: list[str], rounds: int, folder: Path) -> dict[str, Results]:
    """Have every contender download once a round, each round in another order; check the bytes of each once."""
    _use_memory(folder / "fresh", 2 * course.data.size)
    results = {name: Results() for name in names}
    for number, order in enumerate(shuffled(names, rounds)):
        for name in order:
            result = results[name]
            if result.failure or (result.rounds and result.rounds[0].seconds > SLOW_S):
                continue
            _run(course, name, number, folder / "fresh", result)
            _say(course.case, number, name, result)
    return results


def _use_memory(path: Path, size: int) -> None:
    """Have the machine give out as much memory as the disk's cache will need: the first use of it costs whoever has it.

    Under a hypervisor each page that was never used has to be found first, which takes longer than to download it.
    """
    piece = bytes(1024 * 1024)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size, len(piece)):
            file.write(piece)
    path.unlink()


def _say(case: str, number: int, name: str, result: Results) -> None:
    said = result.failure or f"{result.rounds[number].seconds:.2f} s"
    print(f"{case}, round {number + 1}: {name}: {said}", file=sys.stderr, flush=True)


def _run(course: Course, name: str, number: int, folder: Path, result: Results) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()  # what the one before has left to be written is not for this one to wait for
    server = psutil.Process(course.server_pid)
    cpu = _cpu_s(server)
    try:
        figures = _figures(course, name, folder)
    except RuntimeError as error:
        result.failure = str(error)
        return
    finally:
        result.server_cpu_s.append(_cpu_s(server) - cpu)
    wrong = differences(course.data, Path(figures.folder)) if not result.rounds and CONTENDERS[name].keeps else []
    if wrong:
        result.failure = f"{len(wrong)} files are wrong, such as {wrong[0]}"
        return
    result.rounds[number] = figures
    shutil.rmtree(folder, ignore_errors=True)


def _figures(course: Course, name: str, folder: Path) -> Figures:
    task = {
        "contender": name,
        "case": course.case,
        "uri": course.uri,
        "folder": str(folder),
        "origin": str(course.data.folder),
        "checksums": dict(course.checksums),
        "started": time.monotonic(),
    }
    command = [sys.executable, "-m", "tests.benchmarks.downloads.child", json.dumps(task)]
    environment = {**os.environ, **course.environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"it failed: {done.stderr.strip()[-600:]}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
