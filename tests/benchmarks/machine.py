"""Where and with what the figures were measured."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.other_buses import version_of

MEMORY_RETURNED = Path("/sys/module/page_reporting/parameters/page_reporting_order")
"""From which size on, as a power of two of pages, a virtual machine gives blocks of free memory back to its host."""

_LARGEST_BLOCK = 10  # a larger one never is free, and so nothing is given back


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, the interpreter, the libraries and the day.

    Attributes:
        returns_memory: Whether free memory goes back to a host, so that whoever uses it next has to wait for it.
    """

    cpu: str
    cpus: int
    system: str
    python: str
    date: str
    versions: dict[str, str | None]
    returns_memory: bool


def this_machine(packages: Iterable[str]) -> Machine:
    """Describe this machine; a package that is not installed has no version."""
    return Machine(
        cpu=_cpu_model(),
        cpus=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        date=datetime.now(UTC).date().isoformat(),
        versions={package: version_of(package) for package in packages},
        returns_memory=_returns_memory(),
    )


def _returns_memory() -> bool:
    try:
        return 0 <= int(MEMORY_RETURNED.read_text()) <= _LARGEST_BLOCK
    except (OSError, ValueError):
        return False


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
