"""The downloads of the other nodes of the placement group, at the same time."""

from collections.abc import Sequence
from functools import partial

from eventinit.context import seal
from eventinit.joining import together
from eventinit.luggage import pack
from eventinit.node_download import NodeDownload
from eventinit.phases.progress import with_progress
from eventinit.ports import ClusterNode, DownloadMode, DownloadRequest, DownloadResult, Report
from eventinit.start import Start


def request_of(start: Start, mode: DownloadMode) -> DownloadRequest:
    """Return what a node is asked to fetch."""
    return DownloadRequest(start.config.sources, mode, start.config.download.settings())


async def fetch_on_others(start: Start, nodes: Sequence[ClusterNode]) -> None:
    """Fetch the files to every node of the group but this one, at the same time."""
    seal(start.context, "worker_node_download_model", phase="download")
    mode = start.context.worker_node_download_model
    others = [node for node in nodes if not node.is_local]
    if mode != "NONE" and others:
        luggage = None if start.on_nodes is None else pack(start.on_nodes, start.context)
        await together(*(partial(_fetch_on, start, node, mode, luggage) for node in others))


async def _fetch_on(start: Start, node: ClusterNode, mode: DownloadMode, luggage: bytes | None) -> None:
    fetch = NodeDownload(start.id, node.node_id, request_of(start, mode), luggage)

    async def run(report: Report) -> DownloadResult:
        runtime_env = dict(start.context.runtime_env)
        return await start.cluster.fetch_on(node.node_id, fetch, runtime_env, report)

    await with_progress(start, node.node_id, run)
