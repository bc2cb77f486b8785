"""The download phase: the model's files come to this node, and to every other node of the placement group."""

from collections.abc import Sequence
from functools import partial
from typing import final

from anyio import Event, move_on_after

from eventinit import clock
from eventinit.context import seal, set_by_system
from eventinit.events import DownloadProgress, PostDownload, PreDownload
from eventinit.joining import Awaited, together
from eventinit.ports import ClusterNode, DownloadMode, DownloadRequest, DownloadResult, FetchProgress, union
from eventinit.start import PhaseRun, Start

REPORT_INTERVAL_S = 0.1
FETCH = "fetch"
"""The span of the timeline in which this node fetches; the phase also waits for the other nodes."""


async def download(start: Start, placed: Awaited[Sequence[ClusterNode]]) -> None:
    """Fetch the model unless that is vetoed; ``placed`` gives the nodes of the group once it is ready."""
    async with start.phase("download", start.config.download_timeout_s, "download_timeout_s") as phase:
        asked = await start.ask(PreDownload)
        seal(start.context, "local_node_download_model", phase="download")
        if not phase.note_vetoes(asked):
            await _fetch_everywhere(start, phase, placed)
    await start.tell(PostDownload, phase)


async def _fetch_everywhere(start: Start, phase: PhaseRun, placed: Awaited[Sequence[ClusterNode]]) -> None:
    results: list[DownloadResult] = []

    async def here() -> None:
        mode = start.context.local_node_download_model
        if mode != "NONE":
            results.append(await fetch_here(start, mode))
        with phase.clock_stopped():
            phase.waiting_for = "the placement group, which names the other nodes"
            nodes = await placed.get()
        wanted = union(mode, start.context.worker_node_download_model)
        if wanted != mode and (not nodes or any(node.is_local for node in nodes)):
            results.append(await fetch_here(start, wanted))

    async def there() -> None:
        await fetch_on_others(start, await placed.get())

    await together(here, there)
    if results:
        set_by_system(start.context, "download_result", results[-1])
    elif start.context.worker_node_download_model == "NONE":
        phase.status = "skipped"


async def fetch_here(start: Start, mode: DownloadMode) -> DownloadResult:
    """Fetch the files of a mode to this node, with ``DownloadProgress`` events."""
    source = start.backends.open_source(*start.config.sources, settings=start.config.download.settings())
    reports = _Reports(start)
    results: list[DownloadResult] = []

    async def fetch() -> None:
        results.append(await source.fetch(mode, reports.note))
        reports.end()

    with start.timeline.timed(FETCH):
        await together(fetch, reports.pump)
    return results[0]


async def fetch_on_others(start: Start, nodes: Sequence[ClusterNode]) -> None:
    """Fetch the files to every node of the group but this one, at the same time."""
    seal(start.context, "worker_node_download_model", phase="download")
    mode = start.context.worker_node_download_model
    others = [node for node in nodes if not node.is_local]
    if mode != "NONE" and others:
        await together(*(partial(_fetch_on, start, node, mode) for node in others))


async def _fetch_on(start: Start, node: ClusterNode, mode: DownloadMode) -> None:
    runtime_env = dict(start.context.runtime_env)
    request = DownloadRequest(start.config.sources, mode, start.config.download.settings())
    await start.cluster.fetch_on(node.node_id, request, runtime_env)


@final
class _Reports:
    """Turns the reports of a fetch into progress events, at most ten a second."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._began = clock.monotonic()
        self._bytes_at_first: int | None = None
        self._latest: FetchProgress | None = None
        self._news = Event()
        self._over = Event()

    def note(self, progress: FetchProgress) -> None:
        self._latest = progress
        self._news.set()

    def end(self) -> None:
        self._over.set()
        self._news.set()

    async def pump(self) -> None:
        while not self._over.is_set():
            await self._news.wait()
            self._news = Event()
            await self._emit_latest()
            with move_on_after(REPORT_INTERVAL_S):
                await self._over.wait()
        await self._emit_latest()

    async def _emit_latest(self) -> None:
        progress, self._latest = self._latest, None
        if progress is None:
            return
        if self._bytes_at_first is None:
            self._bytes_at_first = progress.bytes_done
        seconds = max(clock.monotonic() - self._began, 1e-6)
        rate = (progress.bytes_done - self._bytes_at_first) / seconds
        left = progress.bytes_total - progress.bytes_done
        await self._start.bus.emit(
            DownloadProgress(
                start_id=self._start.id,
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                files_done=progress.files_done,
                files_total=progress.files_total,
                bytes_per_second=rate,
                remaining_s=left / rate if rate > 0 else 0.0 if left == 0 else None,
            )
        )
