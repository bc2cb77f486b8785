"""The downloads of the other nodes of the placement group, at the same time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType

from anyio import CancelScope, create_task_group

from eventinit.context import seal
from eventinit.joining import Awaited, one_error, together
from eventinit.latest import INTERVAL_S
from eventinit.luggage import pack
from eventinit.node_download import NodeDownload
from eventinit.phases.attempt import Attempt
from eventinit.phases.progress import with_progress
from eventinit.phases.spread import FetchOn, is_broadcast, spread
from eventinit.ports import ClusterNode, DownloadMode, DownloadRequest, DownloadResult, Report
from eventinit.start import Start

MOST_REPORTS_A_SECOND = 100
"""Of all other nodes together: one takes this process 1 ms on Ray, and a thousand nodes could send ten thousand."""

_NO_ATTEMPTS: Mapping[str, Attempt] = MappingProxyType({})


def request_of(start: Start, mode: DownloadMode, peer: object | None = None) -> DownloadRequest:
    """Return what a node is asked to fetch."""
    return DownloadRequest(start.config.sources, mode, start.config.download.settings(), peer)


async def fetch_on_group(
    start: Start, placed: Awaited[Sequence[ClusterNode]], here: Awaited[DownloadResult | None]
) -> None:
    """Fetch to every other node of the group once ``placed`` names them; ``here`` gives what this one has fetched.

    Nodes that may come to be chosen are warmed while the group is pending, or begin to fetch if the configuration says
    so. What was begun on the others has ended when this returns.
    """
    attempts: dict[str, Attempt] = {}
    pending = CancelScope()

    async def try_early(attempt: Attempt, node: ClusterNode, work: Callable[[ClusterNode], Awaitable[None]]) -> None:
        await attempt.run(partial(work, node))
        start.fetching.pop(node.node_id, None)  # it may have been ended because the group is elsewhere

    async def begin_on_candidates() -> None:
        with pending:
            nodes = await start.candidates.get()
            mode, work = _early_work(start, len(nodes))
            for node in nodes if start.context.worker_node_download_model != "NONE" else ():
                attempt = attempts[node.node_id] = Attempt(mode)
                tasks.start_soon(try_early, attempt, node, work)

    with one_error():
        async with create_task_group() as tasks:
            tasks.start_soon(begin_on_candidates)
            nodes = await placed.get()
            pending.cancel()
            needed = {node.node_id for node in nodes if start.context.worker_node_download_model != "NONE"}
            for node_id in attempts.keys() - needed:
                attempts[node_id].cancel()
            await fetch_on_others(start, nodes, here, attempts)


async def fetch_on_others(
    start: Start,
    nodes: Sequence[ClusterNode],
    here: Awaited[DownloadResult | None],
    attempts: Mapping[str, Attempt] = _NO_ATTEMPTS,
) -> None:
    """Fetch to every node of the group but this one, at the same time; an attempt that was right counts."""
    seal(start.context, "worker_node_download_model", phase="download")
    mode = start.context.worker_node_download_model
    others = [node for node in nodes if not node.is_local]
    if mode == "NONE" or not others:
        return
    fetch = _fetcher(start, mode, len(others))

    async def complete(node: ClusterNode, peer: object | None = None) -> None:
        attempt = attempts.get(node.node_id)
        if attempt is None or not await attempt.brings(mode):
            await fetch(node, peer)

    if is_broadcast(start):
        await spread(start, others, mode, await here.get(), complete)
    else:
        await together(*(partial(complete, node) for node in others))


def _early_work(start: Start, nodes: int) -> tuple[DownloadMode, Callable[[ClusterNode], Awaitable[None]]]:
    """Return what a candidate does before the group is placed, and the mode of that."""
    if start.config.download.prefetch == "candidates":
        mode = start.context.worker_node_download_model
        return mode, partial(_fetcher(start, mode, nodes), peer=None)

    async def warm(node: ClusterNode) -> None:
        await start.cluster.warm(node.node_id, dict(start.context.runtime_env))

    return "NONE", warm


def _fetcher(start: Start, mode: DownloadMode, nodes: int) -> FetchOn:
    """Return what has one of so many nodes fetch; what their subscribers need is packed once for all of them."""
    interval_s = max(INTERVAL_S, nodes / MOST_REPORTS_A_SECOND)

    @cache
    def luggage() -> bytes | None:
        return None if start.on_nodes is None else pack(start.on_nodes, start.context)

    async def fetch(node: ClusterNode, peer: object | None) -> None:
        request = NodeDownload(start.id, node.node_id, request_of(start, mode, peer), luggage(), interval_s)

        async def run(report: Report) -> DownloadResult:
            return await start.cluster.fetch_on(node.node_id, request, dict(start.context.runtime_env), report)

        result = await with_progress(start, node.node_id, run, interval_s)
        start.paths_elsewhere[node.node_id] = result.path

    return fetch
