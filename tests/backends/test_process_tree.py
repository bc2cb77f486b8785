import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import psutil

from eventinit.backends.process_tree import (
    SpawnedProcesses,
    end_trees,
    end_trees_when,
    is_running,
    with_descendants,
)

SLEEP = "import time; time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
WITH_A_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {IGNORES_SIGTERM!r}]); {SLEEP}"


@contextmanager
def program(source: str) -> Generator[psutil.Process]:
    """Run a Python program and kill it at the end, whatever the test has done to it."""
    with subprocess.Popen([sys.executable, "-c", source]) as popen:
        process = psutil.Process(popen.pid)
        try:
            yield process
        finally:
            end_trees([process])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_a_process_ends_with_all_its_descendants() -> None:
    with program(WITH_A_CHILD) as parent:
        wait_until(lambda: len(parent.children()) == 1)
        (child,) = parent.children()
        assert with_descendants([parent]) == [parent, child]
        assert end_trees([parent]) == []
        assert not is_running(parent)
        assert not is_running(child)


def test_shared_memory_ends_with_the_process_that_has_made_it_and_what_this_one_uses_stays() -> None:
    """Python's tracker would keep it for as long as this process lives. A forked child uses what its parent does."""
    fork = multiprocessing.get_context("fork")
    ours, names = SharedMemory(create=True, size=16), fork.SimpleQueue()

    def use() -> None:
        own = SharedMemory(create=True, size=16)
        names.put(own.name)
        time.sleep(600)

    child = fork.Process(target=use)
    child.start()
    made = Path("/dev/shm", names.get())
    try:
        assert made.exists()
        assert end_trees([psutil.Process(child.pid)]) == []
        assert not made.exists()
        assert Path("/dev/shm", ours.name).exists()
    finally:
        ours.close()
        ours.unlink()


def test_ending_what_has_ended_is_harmless() -> None:
    with program("") as process:
        wait_until(lambda: not is_running(process))
        assert with_descendants([process]) == []
        assert end_trees([process, process]) == []


def test_a_child_of_multiprocessing_is_reaped() -> None:
    """Neither a zombie is left nor a ``Process`` that believes it is alive."""
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    child.start()
    assert child.pid is not None
    end_trees([psutil.Process(child.pid)])
    assert not psutil.pid_exists(child.pid)
    assert child.exitcode == -9
    child.close()


@contextmanager
def program_of_another_thread() -> Generator[psutil.Process]:
    """Have a thread that has spawned a program and lives on until the end."""
    spawned: list[psutil.Process] = []
    leave = threading.Event()

    def spawn() -> None:
        with program(SLEEP) as process:
            spawned.append(process)
            leave.wait(30)

    thread = threading.Thread(target=spawn)
    thread.start()
    try:
        wait_until(lambda: bool(spawned))
        yield spawned[0]
    finally:
        leave.set()
        thread.join()


def test_only_what_this_thread_spawns_from_now_on_is_found() -> None:
    with program(SLEEP):
        spawned = SpawnedProcesses()
        with program_of_another_thread(), program(SLEEP) as mine:
            assert spawned.running() == [mine]


def test_a_block_that_waits_for_a_process_comes_free_when_it_is_due() -> None:
    """The process appears after its end was due, as an engine's may."""
    due = threading.Event()
    due.set()
    spawned = SpawnedProcesses()
    with end_trees_when(due.is_set, spawned.running), subprocess.Popen([sys.executable, "-c", IGNORES_SIGTERM]) as late:
        assert late.wait(30) == -9


def test_nothing_is_ended_before_it_is_due() -> None:
    asked: list[bool] = []

    def never() -> bool:
        asked.append(True)
        return False

    with program(SLEEP) as process:
        with end_trees_when(never, lambda: [process]):
            wait_until(lambda: len(asked) >= 2)
        assert is_running(process)
