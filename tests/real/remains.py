"""What a start on a cluster has left in this process, below it, in its folder for temporary files and in Ray."""

import asyncio
import gc
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

import psutil

_SERVERS: Final = ("raylet", "gcs_server")
_RAYS_OWN: Final = (
    "/ray/_private/",
    "/ray/dashboard/",
    "/ray/core/src/",
    "/ray/autoscaler/",
    "ray::IDLE",
    "gcs_server",
)
"""In the command lines of the processes that a cluster consists of; a worker with work to do has another title."""
_OURS_OR_RAYS: Final = ("EVENTINIT_", "PYTHON", "RAY_", "TMPDIR")
"""The variables that a start or ``ray.init`` changes; vLLM sets some of its own for good when it makes an engine."""
_POOLS: Final = ("AnyIO worker thread", "asyncio_", "MainThread")
"""Threads that idle in a pool of their event loop."""


@final
class Remains:
    """Everything that there is now, with which to compare what there is later.

    Args:
        cluster: Where groups and actors are looked for.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._shared_memory: set[Path] = set()
        self._before = _here()
        self._nameless = Counter(_nameless())
        self._environment = dict(os.environ)

    def note_shared_memory(self) -> None:
        """Remember the shared memory of the engine's core and what is below it, which may outlive them.

        That of the workers is Ray's, which kills them together with what would remove it.
        """
        for process in _below_engines():
            with suppress(OSError):
                maps = Path(f"/proc/{process.pid}/maps").read_text()
                self._shared_memory.update(Path(name) for name in re.findall(r"/dev/shm/psm_\w+", maps))

    def kept(self) -> int:
        """Return how many nameless descriptors, such as pipes, there are on top; libraries keep some for good."""
        return (Counter(_nameless()) - self._nameless).total()

    async def found(self) -> dict[str, list[str]]:
        """Return what there is on top of what there was, by its kind."""
        tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return {"asyncio tasks": tasks} | await asyncio.to_thread(self._found)

    def _found(self) -> dict[str, list[str]]:
        gc.collect()  # vLLM leaves contexts of zmq to it
        now = _here()
        changed = dict(os.environ).items() ^ self._environment.items()
        return {kind: sorted((now[kind] - self._before[kind]).elements()) for kind in now} | {
            "groups": self._cluster.living_groups(),
            "actors": self._cluster.living_actors(),
            "shared memory": [str(path) for path in self._shared_memory if path.exists()],
            "environment": sorted({name for name, _ in changed if name.startswith(_OURS_OR_RAYS)}),
        }


def _here() -> dict[str, Counter[str]]:
    processes = list(_processes())
    return {
        "ray tasks": Counter(line for line in processes if line.startswith("ray::")),
        "processes": Counter(line for line in processes if not line.startswith("ray::")),
        "threads": Counter(t.name for t in threading.enumerate() if not t.name.startswith(_POOLS)),
        "temporary files": Counter(path.name for path in Path(tempfile.gettempdir()).iterdir() if not _is_vllms(path)),
        "descriptors": Counter(_descriptors()),
    }


def _is_vllms(path: Path) -> bool:
    """Return whether it is torch's cache, which stays, or a socket of a worker of vLLM that Ray has killed."""
    return path.name.startswith("torchinductor_") or path.is_socket()


def _below_engines() -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if child.name() not in _SERVERS:
                yield from (child, *child.children(recursive=True))


def _processes() -> Iterator[str]:
    """Yield the processes below this one but for those that the cluster itself consists of."""
    this = psutil.Process()
    for process in this.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            # One that waits to be reaped has no command line; Ray's are for Ray to reap.
            if line and not any(mark in line for mark in _RAYS_OWN):
                yield line[:120]
            elif not line and process.ppid() == this.pid:
                yield f"{process.name()}, {process.status()}"


def _descriptors() -> Iterator[str]:
    """Yield the open files and sockets."""
    return (name for name in _open() if name.startswith(("/", "socket:")))


def _nameless() -> Iterator[str]:
    return (name for name in _open() if not name.startswith(("/", "socket:")))


def _open() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that reads the folder
            # But for numbers and ids.
            yield re.sub(r"[0-9a-f]{4,}", "", str(descriptor.readlink()))
