"""Starts and ends processes that fetch."""

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

ROOT = Path(__file__).parents[2]


@contextmanager
def fetching_child(ledger: Path, pace_s: float) -> Generator[subprocess.Popen[str]]:
    """Run a process that fetches the scripted model into the cache of the environment, and kill what is left of it."""
    command = [sys.executable, "-m", "tests.downloads.fetching_child", str(ledger), str(pace_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return as soon as something outside of this process is so."""
    with anyio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - nobody can tell us
            await anyio.sleep(0.005)
