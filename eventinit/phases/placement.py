"""The placement-group phase: bundles for the engine's workers are reserved, or a handler supplies them."""

import logging
from collections.abc import Sequence
from functools import partial

from eventinit.context import seal, set_by_system
from eventinit.events import PostPlacementGroup, PrePlacementGroup
from eventinit.joining import Awaited
from eventinit.logs import log_event
from eventinit.owner import this_owner
from eventinit.phases.arguments import engine_arguments
from eventinit.phases.bundles import bundles_for, holders, worker_count
from eventinit.phases.fitting import candidates
from eventinit.phases.group_wait import assess, wait_for_group
from eventinit.ports import ClusterNode, GroupPlacement
from eventinit.start import PhaseRun, Start

UNDO = "placement group"
REMOVAL_DEADLINE_S = 20.0


async def place(start: Start, placed: Awaited[Sequence[ClusterNode]]) -> None:
    """Reserve a placement group unless a handler vetoes that or there is one, and tell ``placed`` its nodes.

    A handler's own group wins over the one that this process runs in, such as a Ray Serve replica's.
    """
    timeout_s = start.config.placement_timeout_s
    async with start.phase("placement_group", timeout_s, "placement_timeout_s") as phase:
        asked = await start.ask(PrePlacementGroup)
        seal(start.context, "placement_group", phase="placement_group")
        vetoed = phase.note_vetoes(asked)
        if start.context.placement_group is None and not vetoed:
            await start.cluster.ensure_running()
            await _use_surrounding(start)
        if start.context.placement_group is not None:
            phase.status = "vetoed" if vetoed else "supplied"
            await use_supplied(start, phase)
        elif not vetoed:
            await reserve(start, phase, worker_count(engine_arguments(start)))
    await start.tell(PostPlacementGroup, phase)
    placed.set(await nodes_of_group(start))


async def use_supplied(start: Start, phase: PhaseRun) -> None:
    """Wait until a placement group that is not ours is ready.

    Raises:
        InfeasibleGroupError: The nodes can never hold it, and no further ones come by themselves.
        PlacementError: It is no living placement group.
    """
    await start.cluster.ensure_running()
    group = start.context.placement_group
    placement = await start.cluster.placement_of(group)
    _warn_if_too_small(start, placement)
    if None in placement.node_ids:
        assess(start, phase, placement, await start.cluster.capacity(group))
    await wait_for_group(start, phase, group)


async def reserve(start: Start, phase: PhaseRun, workers: int) -> None:
    """Make the group for so many workers, wait until it is ready, and put it into the context.

    Raises:
        InfeasibleGroupError: The nodes can never hold it, and no further ones come by themselves.
    """
    capacity = await start.cluster.capacity()
    bundles = bundles_for(start.config, workers, capacity.nodes)
    strategy = start.config.placement_group_config.strategy
    assess(start, phase, GroupPlacement(tuple(bundles), (None,) * len(bundles), strategy), capacity)
    start.candidates.set(candidates(bundles, capacity.nodes, await start.cluster.nodes()))
    group = await start.cluster.create_group(bundles, strategy, str(this_owner(start.id)))
    start.undos.push(UNDO, partial(start.cluster.remove_group, group), deadline_s=REMOVAL_DEADLINE_S)
    await wait_for_group(start, phase, group)
    set_by_system(start.context, "placement_group", group)


async def nodes_of_group(start: Start) -> Sequence[ClusterNode]:
    """Return the nodes that hold the group's bundles; none without a group."""
    group = start.context.placement_group
    if group is None:
        return ()
    chosen = set((await start.cluster.placement_of(group)).node_ids)
    return [node for node in await start.cluster.nodes() if node.node_id in chosen]


async def _use_surrounding(start: Start) -> None:
    group = await start.cluster.surrounding_group()
    if group is not None:
        set_by_system(start.context, "placement_group", group)


def _warn_if_too_small(start: Start, placement: GroupPlacement) -> None:
    """Say early what becomes an error once the engine starts, unless ``PreEngineInit`` still lowers the workers."""
    bundles, workers = len(holders(placement.bundles)), worker_count(engine_arguments(start))
    if bundles < workers:
        log_event(
            logging.WARNING,
            "placement_group_too_small",
            bundles=bundles,
            workers=workers,
            reason="the start will fail unless PreEngineInit lowers the parallel sizes",
        )
