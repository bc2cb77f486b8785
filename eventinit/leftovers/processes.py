"""The processes of engines and of embedded Rays, with the shared memory that they keep."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from eventinit.backends.engine_folder import recorded_processes
from eventinit.backends.process_tree import end_trees, with_descendants
from eventinit.backends.shared_memory import shared_memory_of
from eventinit.leftovers.folders import signed_engine_folders, signed_ray_folders
from eventinit.leftovers.leftover import Leftover
from eventinit.owner import Owner


def left_processes() -> Iterator[Leftover]:
    """Yield the processes of engines, children before their parents, and what embedded Rays have left running."""
    for folder, owner in signed_engine_folders():
        for process in reversed(with_descendants(recorded_processes(folder))):
            yield from _leftover("engine's process", process, owner)
    for folder, owner in signed_ray_folders():
        # All others of a Ray end with the process that has started it.
        if owner.is_alive() is False:
            for process in _agents_of(folder):
                yield from _leftover("embedded Ray's process", process, owner)


def _agents_of(session: Path) -> Iterator[psutil.Process]:
    """Yield the processes with a title of Ray's that write into a session."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "".join(process.cmdline()[:1]).startswith("ray::") and _has_open(process, session):
                yield process


def _has_open(process: psutil.Process, folder: Path) -> bool:
    return any(Path(file.path).is_relative_to(folder) for file in process.open_files())


def _leftover(kind: str, process: psutil.Process, owner: Owner) -> Iterator[Leftover]:
    with suppress(psutil.Error):
        yield Leftover(
            kind=kind,
            name=f"{process.pid} {' '.join(process.cmdline()).strip():.60}",
            owner=owner,
            in_use=owner.is_alive(),
            note="",
            remove=partial(_end, process),
            size=process.memory_info().rss,
            age_s=time.time() - process.create_time(),
        )


def _end(process: psutil.Process) -> str | None:
    shared = shared_memory_of(with_descendants([process]))
    survivors = end_trees([process])
    for path in shared - shared_memory_of(psutil.process_iter()):
        path.unlink(missing_ok=True)
    return f"it goes on after SIGKILL (process {survivors[0].pid})" if survivors else None
