"""Cancelled, killed and simultaneous fetches from the Hub, with real processes."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import psutil
import pytest

from eventinit.errors import ModelNotFoundError
from eventinit.ports import FetchProgress
from tests.conftest import EXCESS
from tests.downloads.hub.trials import children, files, ignore, is_child, open_hub, program, weights
from tests.servers.hub import Fault, HubState

pytestmark = [pytest.mark.real]

SIZE = 4 * 1024 * 1024
MODEL = {"config.json": b"{}", "model.safetensors": weights(SIZE)}
TOTAL = sum(map(len, MODEL.values()))
PATIENCE_S = 10.0
TRIALS = int(os.environ.get("EVENTINIT_TRIALS", "6"))
"""``make test-exhaustive`` asks for 100."""


@pytest.fixture(autouse=True)
def slow_model(hub: HubState) -> None:
    """The model takes about a second."""
    hub.models["org/name"] = MODEL
    hub.pause_s = 0.015


def wait_until_ended(processes: list[psutil.Process]) -> float:
    """Return how long it took until the processes had ended."""
    started = time.monotonic()
    gone, alive = psutil.wait_procs(processes, PATIENCE_S)
    assert (gone, alive) == (processes, []) or not alive
    return time.monotonic() - started


@pytest.mark.asyncio
async def test_cancelling_ends_the_process_at_once_and_the_next_fetch_continues(hub: HubState, tmp_path: Path) -> None:
    async def cancelled() -> float:
        cancelled_at = 0.0

        def cancel(progress: FetchProgress) -> None:
            nonlocal cancelled_at
            if progress.bytes_done > SIZE // 2 and not cancelled_at:
                cancelled_at = time.monotonic()
                scope.cancel()

        with anyio.CancelScope() as scope:
            await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", cancel)
        assert scope.cancelled_caught
        return time.monotonic() - cancelled_at

    took_s = await cancelled()
    assert children() == []
    assert took_s < PATIENCE_S

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    assert files(result.path) == MODEL
    assert hub.sent <= 1.15 * TOTAL


@pytest.mark.asyncio
async def test_cancelling_a_fetch_that_hangs_leaves_no_process_and_no_lock(hub: HubState, tmp_path: Path) -> None:
    hub.faults["model.safetensors"] = [Fault("stall", SIZE // 2)]

    with anyio.CancelScope() as scope:
        await open_hub(hub, tmp_path).fetch(
            "MODEL_AND_TOKENIZER", lambda progress: scope.cancel() if progress.bytes_done > SIZE // 2 else None
        )
    assert children() == []

    with anyio.fail_after(PATIENCE_S):
        result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    assert files(result.path) == MODEL


@pytest.mark.asyncio
async def test_two_fetches_in_one_process_share_the_bytes(hub: HubState, tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(open_hub(hub, tmp_path).fetch, "MODEL_AND_TOKENIZER", ignore)

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    assert (files(result.path), hub.sent) == (MODEL, TOTAL)


@pytest.mark.asyncio
async def test_a_refusal_of_one_fetch_leaves_the_other_alone(hub: HubState, tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_hub(hub, tmp_path).fetch, "MODEL_AND_TOKENIZER", ignore)
        with pytest.raises(ModelNotFoundError):
            await open_hub(hub, tmp_path, "v9").fetch("MODEL_AND_TOKENIZER", ignore)


def test_a_killed_program_takes_its_process_with_it_and_the_next_continues(hub: HubState, tmp_path: Path) -> None:
    # It is silent then: were it to write, it would notice the closed pipe.
    hub.faults["model.safetensors"] = [Fault("stall", SIZE // 2)]
    with program(hub, tmp_path) as first:
        first.has_bytes(SIZE // 2)
        fetching = [child for child in psutil.Process(first.process.pid).children() if is_child(child)]
        first.process.kill()
        first.process.wait()
        took_s = wait_until_ended(fetching)
    assert fetching
    assert took_s < PATIENCE_S / 2

    with program(hub, tmp_path) as second:
        result = second.result()
    assert files(Path(result["path"])) == MODEL
    assert result["fetched"] < TOTAL
    assert hub.sent <= 1.15 * TOTAL


def test_a_second_program_follows_and_fetches_nothing(hub: HubState, tmp_path: Path) -> None:
    with program(hub, tmp_path) as first, program(hub, tmp_path) as second:
        steps = 0
        while "path" not in (answer := second.next()):
            steps += 1
        fetched = answer["fetched"] + first.result()["fetched"]

    assert steps > 2
    assert (fetched, hub.sent) == (TOTAL, TOTAL)
    assert files(Path(answer["path"])) == MODEL


def test_a_follower_takes_over_from_a_program_that_is_killed(hub: HubState, tmp_path: Path) -> None:
    hub.pause_s = 0.2
    with program(hub, tmp_path) as first:
        first.has_bytes(SIZE // 16)
        with program(hub, tmp_path) as second:
            second.has_bytes(SIZE // 8)
            first.process.kill()
            hub.pause_s = 0.0
            result = second.result()

    assert files(Path(result["path"])) == MODEL
    assert 0 < result["fetched"] < TOTAL
    assert hub.sent <= 1.15 * TOTAL


@pytest.mark.parametrize("trial", range(TRIALS))
def test_whenever_it_is_killed_the_next_ends_with_the_exact_bytes(
    hub: HubState, tmp_path: Path, trial: int, record_property: Callable[[str, object], None]
) -> None:
    when = random.Random(trial).randrange(TOTAL)
    with program(hub, tmp_path) as first:
        first.has_bytes(when)

    with program(hub, tmp_path) as second:
        result = second.result()

    record_property(EXCESS, hub.sent / TOTAL - 1)
    assert files(Path(result["path"])) == MODEL
    assert hub.sent <= 1.15 * TOTAL
