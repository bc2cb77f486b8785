"""Finding the processes that a piece of work has spawned, and ending them with all their descendants.

Everything here blocks for moments and belongs into a worker thread. Nothing waits for a child by its id: that would
take the exit status away from ``multiprocessing``, which then holds a dead child for a living one forever.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path

import psutil

from eventinit.backends.shared_memory import remove_shared_memory, shared_memory_of

_WATCH_INTERVAL_S = 0.1
_POLL_INTERVAL_S = 0.02


class SpawnedProcesses:
    """The processes that the current thread spawns from here on.

    A process is its thread's, so what other threads of a service spawn at the same time is left alone. Where the
    kernel keeps no list of a thread's children, the new children of ``multiprocessing`` are taken.
    """

    def __init__(self) -> None:
        # Python's tracker is started with the first child, by whichever thread that is, and lives as long as Python.
        resource_tracker.ensure_running()
        kernel_list = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
        self._children_file = kernel_list if kernel_list.exists() else None
        self._before = frozenset(self._pids())

    def running(self) -> list[psutil.Process]:
        """Return those that run; any thread may ask, as long as the one that spawns is alive."""
        found: list[psutil.Process] = []
        for pid in self._pids():
            with suppress(psutil.NoSuchProcess):
                if pid not in self._before:
                    found.append(psutil.Process(pid))
        return [process for process in found if is_running(process)]

    def _pids(self) -> list[int]:
        if self._children_file is None:
            return [child.pid for child in multiprocessing.active_children() if child.pid is not None]
        return [int(pid) for pid in self._children_file.read_text().split()]


def is_running(process: psutil.Process) -> bool:
    """Return whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def with_descendants(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes and everything below them, as far as it runs."""
    found: dict[psutil.Process, None] = {}
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found.update(dict.fromkeys([root, *root.children(recursive=True)]))
    return [process for process in found if is_running(process)]


def end_trees(roots: Iterable[psutil.Process], wait_s: float = 5.0) -> list[psutil.Process]:
    """Kill processes with all their descendants, wait until they have ended, and return those that have not.

    Their shared memory is removed with them.
    """
    doomed = _stop_trees(roots)
    shared = shared_memory_of(doomed)
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    survivors = _wait_until_ended(doomed, wait_s)
    remove_shared_memory(shared)
    return survivors


@contextmanager
def end_trees_when(
    due: Callable[[], bool],
    find: Callable[[], Iterable[psutil.Process]],
    seen: Callable[[Iterable[psutil.Process]], None] | None = None,
) -> Generator[None]:
    """End what ``find`` returns from the moment ``due`` says so, again and again until the block is left.

    A block that waits for a process comes free that way, also when the process appears only after it was due.
    ``seen`` is told again and again what there is.
    """
    left = threading.Event()

    def watch() -> None:
        while not left.wait(_WATCH_INTERVAL_S):
            if seen is not None:
                seen(find())
            if due():
                end_trees(find())

    watcher = threading.Thread(target=watch, name="eventinit-process-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()


def _stop_trees(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    # A stopped process spawns nothing more, so that its children are complete once it is asked for them.
    found: dict[psutil.Process, None] = {}
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        if process in found:
            continue
        found[process] = None
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            waiting.extend(process.children())
    return list(found)


def _wait_until_ended(processes: Iterable[psutil.Process], wait_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + wait_s
    running = _not_ended(processes)
    while running and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S)
        running = _not_ended(running)
    return running


def _not_ended(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    # Asking for them reaps those that have ended, which the kernel allows only after the last of their threads.
    unreaped = {child.pid for child in multiprocessing.active_children()}
    return [process for process in processes if process.pid in unreaped or is_running(process)]
