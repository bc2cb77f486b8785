"""Noticing that a node of the group is lost while the engine starts there, for whose workers vLLM may wait for ever."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CancelScope, sleep

from eventinit.errors import EngineError, NodeLostError
from eventinit.joining import together
from eventinit.ports import GroupPlacement
from eventinit.start import Start

INTERVAL_S = 1.0

T = TypeVar("T")


async def while_group_lasts(start: Start, work: Callable[[], Awaitable[T]]) -> T:
    """Return what the work returns, and end it when a bundle of the group is no longer where it was.

    Raises:
        NodeLostError: A node of the group is gone, also where the work fails because of that.
    """
    before = await start.cluster.placement_of(start.context.placement_group)
    results: list[T] = []
    watching = CancelScope()

    async def run() -> None:
        results.append(await work())
        watching.cancel()

    async def watch() -> None:
        with watching:
            while True:
                await _refuse_lost(start, before)
                await sleep(INTERVAL_S)

    try:
        await together(run, watch)
    except EngineError as error:
        await _refuse_lost(start, before, error)
        raise
    return results[0]


async def _refuse_lost(start: Start, before: GroupPlacement, cause: EngineError | None = None) -> None:
    now = await start.cluster.placement_of(start.context.placement_group)
    living = {node.node_id for node in await start.cluster.nodes()}
    places = enumerate(zip(before.node_ids, now.node_ids, strict=True))
    lost = {index: was for index, (was, is_now) in places if is_now != was or was not in living}
    if lost:
        raise NodeLostError(lost) from cause
