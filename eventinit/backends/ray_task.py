"""What a Ray task does on the node that fetches. It is imported there, and says so when eventinit is missing."""

import asyncio
import pickle
import signal
from collections.abc import Generator
from functools import partial

from eventinit.backends.ray_peer import RayPeer
from eventinit.downloads import open_source
from eventinit.latest import Latest
from eventinit.ports import DownloadResult, FetchProgress, NodeFetch


def stream_fetch(pickled: bytes) -> Generator[FetchProgress | DownloadResult]:
    """Run a ``NodeFetch``; yield its progress as often as it says, and then its result.

    An interrupt, which is how Ray cancels, ends the fetch in the orderly way before it goes on.
    """
    _hear_interrupts()
    fetch: NodeFetch = pickle.loads(pickled)  # noqa: S301 - it comes from the start
    reports: Latest[FetchProgress] = Latest(fetch.report_interval_s)
    with asyncio.Runner() as runner:
        fetching = runner.get_loop().create_task(_fetch(fetch, reports))
        try:
            while (progress := runner.run(reports.get())) is not None:
                yield progress
        finally:
            fetching.cancel()
            runner.run(_ended(fetching))
        yield fetching.result()


def _hear_interrupts() -> None:
    """Have interrupts raise: a program that a shell puts in the background ignores them, and so do its Rays."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


async def _fetch(fetch: NodeFetch, reports: Latest[FetchProgress]) -> DownloadResult:
    try:
        peer = fetch.request.peer
        return await fetch.run(partial(open_source, peer=RayPeer(peer)) if peer else open_source, reports.put)
    finally:
        reports.end()


async def _ended(task: asyncio.Task[DownloadResult]) -> None:
    await asyncio.wait([task])
