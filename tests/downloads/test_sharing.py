"""Several fetches of one model at a time, in one process and in several, make one download."""

import time
from pathlib import Path

import anyio
import pytest

from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.store_source import StoreSource
from eventinit.downloads.transfer import FOLLOW_S
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings
from tests.downloads.children import fetching_child, until
from tests.downloads.conftest import Reports, contents
from tests.downloads.scripted_store import MIB, MODEL, Fault, ScriptedStore, ignore

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("cache")]

TOTAL = sum(map(len, MODEL.values()))
PIECES = TOTAL / ScriptedStore.piece_bytes / DownloadSettings().max_concurrency
"""How many pieces one after another a whole fetch takes."""


async def test_tasks_of_one_process_share_one_download() -> None:
    store = ScriptedStore(MODEL, pace_s=4 * FOLLOW_S / PIECES)
    results: list[DownloadResult] = []

    async def fetch(reports: Reports) -> None:
        results.append(await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", reports.append))

    everyone = [Reports() for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for reports in everyone:
            tasks.start_soon(fetch, reports)

    assert store.served == TOTAL == sum(result.bytes_fetched for result in results)
    assert all(contents(result.path) == MODEL for result in results)
    assert all(reports.is_monotonic() and reports[-1].bytes_done == TOTAL for reports in everyone)
    midway = [[report for report in reports if 0 < report.bytes_done < TOTAL] for reports in everyone]
    assert all(midway), "whoever follows sees the progress too"


@pytest.mark.real
async def test_processes_share_one_download(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    store = ScriptedStore(MODEL, ledger=ledger)

    with fetching_child(ledger, 0.01) as first, fetching_child(ledger, 0.01) as second:
        await until(lambda: store.served_by_all() > 0)
        result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)
        await until(lambda: first.poll() is not None and second.poll() is not None)
        fetched = sum(int(child.stdout.read()) for child in (first, second) if child.stdout)

    assert contents(result.path) == MODEL
    assert store.served_by_all() == TOTAL == fetched + result.bytes_fetched


@pytest.mark.real
async def test_what_a_killed_process_held_is_taken_over_within_two_seconds(tmp_path: Path) -> None:
    """The child has the large file and gets nothing more of it; this process follows until it is killed."""
    ledger = tmp_path / "ledger"
    store = ScriptedStore(MODEL, ledger=ledger)
    taken_over_at: list[float] = []
    killed_at = 0.0

    def note(request: object) -> Fault | None:
        taken_over_at.append(time.monotonic())
        return None

    with fetching_child(ledger, 0.1) as child:
        await until(lambda: store.served_by_all() > 8 * MIB)
        store.script = note
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(StoreSource([store]).fetch, "MODEL_AND_TOKENIZER", ignore)
            await anyio.sleep(1)
            assert taken_over_at == []
            child.kill()
            killed_at = time.monotonic()

    assert taken_over_at[0] - killed_at < 2
    assert store.served_by_all() <= 1.15 * TOTAL


async def test_a_smaller_mode_does_not_wait_for_a_larger_one() -> None:
    store = ScriptedStore(MODEL, script=lambda r: Fault(stall=True) if r.name == "model.safetensors" else None)
    modes: list[DownloadMode] = []

    async def fetch(mode: DownloadMode) -> None:
        await StoreSource([store]).fetch(mode, ignore)
        modes.append(mode)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fetch, "MODEL_AND_TOKENIZER")
        await until(lambda: store.counts["model.safetensors"] > 0)
        with anyio.fail_after(20):
            await fetch("EXCLUDE_SAFETENSORS")
        tasks.cancel_scope.cancel()

    assert modes == ["EXCLUDE_SAFETENSORS"]


async def test_a_larger_mode_uses_what_a_smaller_one_brought() -> None:
    store = ScriptedStore(MODEL)
    small = await StoreSource([store]).fetch("EXCLUDE_SAFETENSORS", ignore)

    large = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert large.bytes_fetched == large.bytes_total - small.bytes_total
    assert store.served == TOTAL


async def test_a_failed_fetch_leaves_its_file_to_who_follows() -> None:
    stalled = ScriptedStore(MODEL, script=lambda r: Fault(stall=True) if r.name == "model.safetensors" else None)
    store = ScriptedStore(MODEL)
    results: list[DownloadResult] = []

    async def follow() -> None:
        results.append(await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore))

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as holder:
        holder.start_soon(StoreSource([stalled]).fetch, "MODEL_AND_TOKENIZER", ignore)
        await until(lambda: stalled.counts["model.safetensors"] > 0)
        tasks.start_soon(follow)
        holder.cancel_scope.cancel()

    assert contents(results[0].path) == MODEL
    assert store.served >= len(MODEL["model.safetensors"])


async def test_a_lock_belongs_to_one_fetch_and_goes_with_it(tmp_path: Path) -> None:
    one, two = FileLocks(tmp_path / "locks"), FileLocks(tmp_path / "locks")

    assert one.try_acquire("a")
    assert not two.try_acquire("a")
    assert two.try_acquire("b")
    one.close()
    assert two.try_acquire("a")
    two.close()
    two.close()
