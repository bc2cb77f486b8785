"""One node reads the store, and the others receive the files from it and from each other."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from eventinit.joining import together
from eventinit.logs import log_event
from eventinit.ports import ClusterNode, DownloadMode, DownloadResult, union
from eventinit.start import Start


class FetchOn(Protocol):
    """Fetches on a node."""

    async def __call__(self, node: ClusterNode, peer: object | None) -> None:
        """Return when the node has the files, which it receives if it is given a peer."""
        ...


def is_broadcast(start: Start) -> bool:
    """Return whether the files shall come from one node to the others, and can."""
    download = start.config.download
    if download.distribution == "direct":
        return False
    source = start.backends.open_source(*start.config.sources, settings=download.settings())
    if not source.can_be_shared:
        reason = "only what comes from a URI is spread; each node fetches for itself"
        log_event(logging.INFO, "not_broadcast", source=start.config.sources[0], reason=reason)
    return source.can_be_shared


async def spread(
    start: Start, others: Sequence[ClusterNode], mode: DownloadMode, here: DownloadResult | None, fetch_on: FetchOn
) -> None:
    """Have the others receive what this node has fetched; if that is not enough, what the first of them fetches.

    Args:
        start: The start.
        others: The other nodes, one at least.
        mode: What they need.
        here: What this node has.
        fetch_on: Called for each of the others.
    """
    if here is not None and union(here.mode, mode) == here.mode:
        [seed] = [node.node_id for node in await start.cluster.nodes() if node.is_local]
        folder, receivers = here.path, others
    else:
        first, *receivers = others
        await fetch_on(first, None)
        seed, folder = first.node_id, start.paths_elsewhere[first.node_id]
    if not receivers:
        return
    async with start.cluster.serve(seed, folder, dict(start.context.runtime_env)) as peer:
        await together(*(partial(fetch_on, node, peer) for node in receivers))
