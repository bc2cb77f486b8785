"""The shared memory that processes use, which outlives those of them that are killed.

What Python makes is removed by its resource tracker, but only after the last process that the tracker serves. An
engine shares the tracker of the service that has started it, so the service would keep the memory of every engine.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Final

import psutil

_FOLDER: Final = "/dev/shm/"  # noqa: S108 - where Linux has it
_MADE_BY_PYTHON: Final = "psm_"


def shared_memory_of(processes: Iterable[psutil.Process]) -> set[Path]:
    """Return the files of shared memory that processes use."""
    found: set[str] = set()
    for process in processes:
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
            paths = (line.partition(_FOLDER)[2] for line in lines)
            found.update(f"{_FOLDER}{path}" for path in paths if path)
    return {path for path in map(Path, found) if path.exists()}


def remove_shared_memory(used: Iterable[Path]) -> None:
    """Remove what ended processes have used of Python's shared memory, unless this process uses it as well.

    Others that still use it keep it until they end; workers of Ray end a little later than the engine.
    """
    left = {path for path in used if path.name.startswith(_MADE_BY_PYTHON) and path.exists()}
    if not left:
        return
    for path in left - shared_memory_of([psutil.Process(os.getpid())]):
        path.unlink(missing_ok=True)
        # Or it complains at its end. It cannot be told to forget what it has not been told to remember.
        resource_tracker.register(f"/{path.name}", "shared_memory")
        resource_tracker.unregister(f"/{path.name}", "shared_memory")
