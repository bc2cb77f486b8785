"""A start on the real Ray and vLLM that is cancelled anywhere leaves nothing, and the next one works."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.cancelled_starts import POINTS, Point

pytestmark = pytest.mark.real

TRIALS = int(os.environ.get("EVENTINIT_TRIALS", "5"))
ENDS_WITHIN_S = 45
STEP = len(POINTS) // TRIALS
CHOSEN = POINTS[STEP - 1 :: STEP]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def own_environment(real_environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The variables of the process, with fake GPUs and a folder of its own, since partial files stay on purpose."""
    path = os.pathsep.join([str(HERE / "fake_gpu"), real_environment["PYTHONPATH"]])
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield {**real_environment, "PYTHONPATH": path, "TMPDIR": folder, "EVENTINIT_CACHE": f"{folder}/cache"}


@pytest.fixture(scope="module")
def told(own_environment: dict[str, str], tiny_uri: str, large_uri: str) -> dict[str, Any]:
    """What the starts have told."""
    names = [point.name for point in CHOSEN]
    command = [sys.executable, str(HERE / "cancelled_starts.py"), tiny_uri, large_uri, *names]
    done = subprocess.run(command, env=own_environment, capture_output=True, text=True, timeout=1500, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert lines, f"the starts failed:\n{done.stdout[-2000:]}\n{done.stderr[-50_000:]}"
    report: dict[str, Any] = json.loads(lines[-1].removeprefix("REPORT "))
    return report


@pytest.mark.parametrize("point", CHOSEN, ids=lambda point: point.name.replace(" ", "-"))
def test_a_start_that_is_cancelled_leaves_nothing(point: Point, told: dict[str, Any]) -> None:
    """Its end comes soon, the bus is closed, and the next of these starts is on the same bus."""
    start = told[point.name]
    print(f"{point.name}: {start}")  # pytest -rP shows it
    assert start["left"] == {}
    assert start["error"] == "CancelledError"
    assert start["strikes"] == (1 if point.again is None else 2)
    assert start["ended within"] < ENDS_WITHIN_S
    assert not start["bus is open"]


def test_the_last_of_these_starts_still_comes_to_answer(told: dict[str, Any]) -> None:
    """It is cancelled in its shutdown; when all of the points were tried, one that nobody cancels comes after it."""
    last = list(told.values())[-1]
    assert last["answers"]
    assert last["last event"] == "PostShutdown"


def test_what_libraries_keep_open_does_not_grow_from_one_engine_to_the_next(told: dict[str, Any]) -> None:
    kept = [start["kept"] for start in told.values()]
    assert len(set(kept) - {0}) <= 1, kept
