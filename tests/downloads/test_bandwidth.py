"""The limit on how many bytes come in a second."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from eventinit.downloads.bandwidth import BURST_S, Bandwidth
from eventinit.downloads.store_source import StoreSource
from eventinit.ports import DownloadSettings, FetchProgress
from tests.downloads.scripted_store import MODEL, ScriptedStore

TOTAL = sum(map(len, MODEL.values()))
RATE = 1000.0


class Clock(threading.Event):
    """A clock of the test's own: waiting for the event takes the time that it should."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now = 0.0
        monkeypatch.setattr("eventinit.downloads.bandwidth.monotonic", lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_bytes_come_at_the_rate(clock: Clock) -> None:
    bucket = Bandwidth(RATE)
    for _ in range(50):
        bucket.take(100, clock)

    assert clock.now == pytest.approx(5000 / RATE, abs=BURST_S)


def test_a_pause_is_made_up_for_by_a_short_burst_only(clock: Clock) -> None:
    clock.now = 10.0
    Bandwidth(RATE).take(3000, clock)

    assert clock.now == pytest.approx(10 + 3000 / RATE - BURST_S)


def test_many_threads_draw_from_one_bucket() -> None:
    bucket, hurry, began = Bandwidth(1e6), threading.Event(), time.monotonic()
    with ThreadPoolExecutor(10) as threads:
        for _ in range(10):
            threads.submit(bucket.take, 50_000, hurry)

    assert time.monotonic() - began >= 0.5 - BURST_S


def test_whoever_hurries_does_not_wait() -> None:
    hurry = threading.Event()
    hurry.set()
    began = time.monotonic()
    Bandwidth(1).take(1000, hurry)

    assert time.monotonic() - began < 1


def test_no_limit_is_no_wait(clock: Clock) -> None:
    Bandwidth(None).take(10**12, clock)

    assert clock.now == 0


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
