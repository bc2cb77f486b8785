"""Where and with what the figures were measured."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.other_buses import version_of


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, the interpreter, the libraries and the day."""

    cpu: str
    cpus: int
    system: str
    python: str
    date: str
    versions: dict[str, str | None]


def this_machine(packages: Iterable[str]) -> Machine:
    """Describe this machine; a package that is not installed has no version."""
    return Machine(
        cpu=_cpu_model(),
        cpus=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        date=datetime.now(UTC).date().isoformat(),
        versions={package: version_of(package) for package in packages},
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
