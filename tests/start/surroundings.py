"""What a start may leave in the process around it."""

import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import final

import anyio
import psutil
from anyio import to_thread
from anyio.lowlevel import checkpoint

THREAD_ENDS_WITHIN_S = 5.0
DESCRIPTORS = Path("/proc/self/fd")


@final
class Surroundings:
    """The tasks, threads, open files, temporary files and processes there are when this is made on an event loop."""

    def __init__(self) -> None:
        self._tasks = _tasks()
        self._threads = set(threading.enumerate())
        self._outside = _outside()

    async def running(self) -> list[str]:
        """Return which tasks and threads there are on top, in words; a thread gets the time it takes to end."""
        found = [name for key, name in _tasks().items() if key not in self._tasks]
        threads = [each for each in threading.enumerate() if each.name.startswith("eventinit")]
        for thread in set(threads) - self._threads:
            await to_thread.run_sync(thread.join, THREAD_ENDS_WITHIN_S)
            found += [thread.name] if thread.is_alive() else []
        # A worker thread idles in its pool, so what counts is its work.
        limiter = to_thread.current_default_thread_limiter()
        with anyio.move_on_after(THREAD_ENDS_WITHIN_S):
            while limiter.borrowed_tokens:
                await checkpoint()
        return found + ["a call in a worker thread"] * int(limiter.borrowed_tokens)

    def outside(self) -> list[str]:
        """Return which open files, sockets, temporary files and processes there are on top."""
        return [name for name in _outside() if name not in self._outside]


def _tasks() -> dict[int, str]:
    return {task.id: f"task {task.name}" for task in anyio.get_running_tasks()}


def _outside() -> list[str]:
    found = [f"process {child.pid}" for child in psutil.Process().children(recursive=True)]
    found += [f"temporary file {name}" for name in Path(tempfile.gettempdir()).iterdir()]
    for descriptor in DESCRIPTORS.iterdir():
        with suppress(FileNotFoundError):  # the one that reads the folder
            found.append(f"descriptor {descriptor.name} of {descriptor.readlink()}")
    return found
