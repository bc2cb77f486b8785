"""The download phase: the model's files come to this node, and to every other node of the placement group."""

from collections.abc import Sequence
from functools import partial

from eventinit.context import read_only, seal, set_by_system
from eventinit.events import PostDownload, PreDownload
from eventinit.joining import Awaited, together
from eventinit.luggage import ON_NODES
from eventinit.node_download import NodeDownload
from eventinit.phases.node_downloads import fetch_on_group, request_of
from eventinit.phases.progress import missing_text, with_progress
from eventinit.ports import ClusterNode, DownloadMode, DownloadResult, union
from eventinit.start import PhaseRun, Start

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
    fetched = Awaited[DownloadResult | None]()

    async def here() -> None:
        mode = start.context.local_node_download_model
        if mode != "NONE":
            results.append(await fetch_here(start, mode))
        with phase.clock_stopped():
            nodes = await placed.get()
        wanted = union(mode, start.context.worker_node_download_model)
        if wanted != mode and (not nodes or any(node.is_local for node in nodes)):
            results.append(await fetch_here(start, wanted))
        fetched.set(results[-1] if results else None)

    try:
        await together(here, partial(fetch_on_group, start, placed, fetched))
    finally:
        phase.waiting_for = missing_text(start.fetching)
    if results:
        set_by_system(start.context, "download_result", results[-1])
    elif start.context.worker_node_download_model == "NONE":
        phase.status = "skipped"


async def fetch_here(start: Start, mode: DownloadMode) -> DownloadResult:
    """Fetch the files of a mode to this node, with its events."""
    fetch = NodeDownload(start.id, "", request_of(start, mode))
    context = read_only(start.context, ON_NODES)
    with start.timeline.timed(FETCH):
        return await with_progress(
            start, fetch.node_id, partial(fetch.run_on, start.bus, context, start.backends.open_source)
        )
