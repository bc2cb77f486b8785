"""The progress of one node's fetch as events on the bus of the start."""

from collections.abc import Awaitable, Callable, Mapping
from typing import final

from eventinit import clock
from eventinit.events import DownloadProgress
from eventinit.joining import together
from eventinit.latest import INTERVAL_S, Latest
from eventinit.ports import DownloadResult, FetchProgress, Report
from eventinit.start import Start

_SHOWN = 3


async def with_progress(
    start: Start, node_id: str, fetch: Callable[[Report], Awaitable[DownloadResult]], interval_s: float = INTERVAL_S
) -> DownloadResult:
    """Return what a fetch returns, and emit a ``DownloadProgress`` for what it reports, one an interval at most."""
    reports: Latest[FetchProgress] = Latest(interval_s)
    rate = _Rate()
    results: list[DownloadResult] = []

    async def run() -> None:
        results.append(await fetch(reports.put))
        reports.end()

    async def tell() -> None:
        while (progress := await reports.get()) is not None:
            start.fetching[node_id] = rate.event(progress, start.id, node_id)
            await start.bus.emit(start.fetching[node_id])

    await together(run, tell)
    start.fetching.pop(node_id, None)
    return results[0]


def missing_text(fetching: Mapping[str, DownloadProgress]) -> str | None:
    """Return how far those nodes are that have not fetched everything, for people; the furthest behind first."""
    behind = sorted(fetching.values(), key=lambda progress: progress.bytes_done - progress.bytes_total)
    said = [
        f"{progress.bytes_done / 1e6:,.0f} of {progress.bytes_total / 1e6:,.0f} MB fetched on"
        f" {f'node {progress.node_id}' if progress.node_id else 'this node'}"
        for progress in behind[:_SHOWN]
    ]
    more = [f"and {len(behind) - _SHOWN} more nodes"] if len(behind) > _SHOWN else []
    return ", ".join([*said, *more]) or None


@final
class _Rate:
    """Works out how fast the bytes come; those that were there before do not count."""

    def __init__(self) -> None:
        self._began = clock.monotonic()
        self._bytes_at_first: int | None = None

    def event(self, progress: FetchProgress, start_id: str, node_id: str) -> DownloadProgress:
        if self._bytes_at_first is None:
            self._bytes_at_first = progress.bytes_done
        seconds = max(clock.monotonic() - self._began, 1e-6)
        rate = (progress.bytes_done - self._bytes_at_first) / seconds
        left = progress.bytes_total - progress.bytes_done
        return DownloadProgress(
            start_id=start_id,
            node_id=node_id,
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            files_done=progress.files_done,
            files_total=progress.files_total,
            bytes_per_second=rate,
            remaining_s=left / rate if rate > 0 else 0.0 if left == 0 else None,
        )
