"""What tests ask of the real Ray."""

import contextlib
from collections.abc import Generator
from typing import Any

import psutil
import pytest


def ray() -> Any:
    import ray

    return ray


def states_in_ray() -> dict[str, str]:
    table: dict[str, dict[str, str]] = ray().util.placement_group_table()
    return {entry["name"]: entry["state"] for entry in table.values()}


def ray_processes() -> list[psutil.Process]:
    """The processes of Ray below this one that still run."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ray" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def no_ray_left(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Fail when a Ray runs before the block, or is left after it."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not ray().is_initialized()
    yield
    left_running = ray().is_initialized()
    ray().shutdown()
    assert not left_running
    _, alive = psutil.wait_procs(ray_processes(), timeout=20)
    assert not alive
