"""The limit on how many bytes come in a second, on a clock of the tests' own."""

import anyio
import pytest
import trio
import trio.testing

from eventinit.downloads.bandwidth import BURST_S, Bandwidth
from eventinit.downloads.store_source import StoreSource
from eventinit.ports import DownloadSettings, FetchProgress
from tests.downloads.scripted_store import MODEL, ScriptedStore

TOTAL = sum(map(len, MODEL.values()))
RATE = 1000.0


def run_on_a_mock_clock(*takes: tuple[float, int]) -> float:
    """Draw bytes, each after a pause in seconds, and return how long that took."""

    async def draw() -> float:
        bucket, began = Bandwidth(RATE), anyio.current_time()
        for pause_s, count in takes:
            await anyio.sleep(pause_s)
            await bucket.take(count)
        return anyio.current_time() - began

    return trio.run(draw, clock=trio.testing.MockClock(autojump_threshold=0))


def test_bytes_come_at_the_rate() -> None:
    assert run_on_a_mock_clock(*[(0, 100)] * 50) == pytest.approx(5000 / RATE, abs=BURST_S)


def test_a_pause_is_made_up_for_by_a_short_burst_only() -> None:
    assert run_on_a_mock_clock((10, 3000)) == pytest.approx(10 + 3000 / RATE - BURST_S)


def test_many_draw_from_one_bucket() -> None:
    async def draw() -> float:
        bucket, began = Bandwidth(RATE), anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(bucket.take, 500)
        return anyio.current_time() - began

    took_s: float = trio.run(draw, clock=trio.testing.MockClock(autojump_threshold=0))

    assert took_s == pytest.approx(5000 / RATE, abs=BURST_S)


def test_no_limit_is_no_wait() -> None:
    async def draw() -> float:
        await Bandwidth(None).take(10**12)
        return anyio.current_time()

    assert trio.run(draw, clock=trio.testing.MockClock(rate=0)) == 0


@pytest.mark.asyncio
@pytest.mark.usefixtures("cache")
async def test_a_fetch_never_has_more_than_its_rate_allows() -> None:
    """However slow the machine is, never more bytes than the time that has passed is worth."""
    rate = 40e6
    began = anyio.current_time()
    ahead: list[float] = []

    def look(progress: FetchProgress) -> None:
        ahead.append(progress.bytes_done - rate * (anyio.current_time() - began + BURST_S))

    await StoreSource([ScriptedStore(MODEL)], DownloadSettings(max_bandwidth=rate)).fetch("MODEL_AND_TOKENIZER", look)

    assert max(ahead) <= 8 * 64 * 1024, "each request may hold one piece"
