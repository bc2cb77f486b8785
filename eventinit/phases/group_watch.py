"""Noticing that a node of the group is lost while the engine starts there, for whose workers vLLM may wait for ever."""

from collections.abc import Awaitable, Callable
from typing import Never, TypeVar

from anyio import CancelScope, move_on_after, sleep

from eventinit.errors import EngineArgumentError, EngineError, NodeLostError
from eventinit.joining import together
from eventinit.phases.placement import nodes_of_group
from eventinit.ports import GroupPlacement
from eventinit.start import Start

INTERVAL_S = 1.0
NOTICE_S = 20.0
"""How long Ray may take to notice that a node is gone: by default five health checks in a row, three seconds apart."""

T = TypeVar("T")


async def while_group_lasts(start: Start, work: Callable[[], Awaitable[T]]) -> T:
    """Return what the work returns, and end it when a bundle of the group is no longer where it was.

    Work that fails on other nodes is not believed at once: the loss of one may be the cause, and is noticed later.

    Raises:
        NodeLostError: A node of the group is gone.
    """
    before = await start.cluster.placement_of(start.context.placement_group)
    is_elsewhere = not all(node.is_local for node in await nodes_of_group(start))
    results: list[T] = []
    watching = CancelScope()

    async def run() -> None:
        results.append(await work())
        watching.cancel()

    async def watch() -> None:
        with watching:
            await _refuse_loss(start, before)

    try:
        await together(run, watch)
    except EngineError as error:
        if is_elsewhere and not isinstance(error, EngineArgumentError):
            with move_on_after(NOTICE_S):
                await _refuse_loss(start, before, error)
        raise
    return results[0]


async def _refuse_loss(start: Start, before: GroupPlacement, cause: EngineError | None = None) -> Never:
    while True:
        now = await start.cluster.placement_of(start.context.placement_group)
        living = {node.node_id for node in await start.cluster.nodes()}
        places = enumerate(zip(before.node_ids, now.node_ids, strict=True))
        lost = {index: was for index, (was, is_now) in places if is_now != was or was not in living}
        if lost:
            raise NodeLostError(lost) from cause
        await sleep(INTERVAL_S)
