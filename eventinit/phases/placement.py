"""The placement-group phase: bundles for the engine's workers are reserved, or a handler supplies them."""

from collections.abc import Sequence
from functools import partial

from eventinit.context import seal, set_by_system
from eventinit.errors import InfeasibleGroupError
from eventinit.events import PostPlacementGroup, PrePlacementGroup
from eventinit.joining import Awaited
from eventinit.owner import this_owner
from eventinit.phases.arguments import engine_arguments
from eventinit.phases.bundles import bundles_for, candidates, why_never_placed, worker_count
from eventinit.ports import Bundle, ClusterNode, Strategy
from eventinit.start import PhaseRun, Start

UNDO = "placement group"
REMOVAL_DEADLINE_S = 20.0


async def place(start: Start, placed: Awaited[Sequence[ClusterNode]]) -> None:
    """Reserve a placement group unless a handler vetoes that or supplies one, and tell ``placed`` its nodes."""
    timeout_s = start.config.placement_timeout_s
    async with start.phase("placement_group", timeout_s, "placement_timeout_s") as phase:
        asked = await start.ask(PrePlacementGroup)
        seal(start.context, "placement_group", phase="placement_group")
        vetoed = phase.note_vetoes(asked)
        if start.context.placement_group is not None:
            phase.status = "vetoed" if vetoed else "supplied"
            await use_supplied(start)
        elif not vetoed:
            await start.cluster.ensure_running()
            await reserve(start, phase, worker_count(engine_arguments(start)))
    await start.tell(PostPlacementGroup, phase)
    placed.set(await nodes_of_group(start))


async def use_supplied(start: Start) -> None:
    """Wait until the placement group of a handler is ready.

    Raises:
        PlacementError: It is no living placement group.
    """
    await start.cluster.ensure_running()
    await start.cluster.placement_of(start.context.placement_group)
    await start.cluster.wait_until_ready(start.context.placement_group)


async def reserve(start: Start, phase: PhaseRun, workers: int) -> None:
    """Make the group for so many workers, wait until it is ready, and put it into the context.

    Raises:
        InfeasibleGroupError: The nodes can never hold it, and no further nodes can join.
    """
    nodes = await start.cluster.nodes()
    bundles = bundles_for(start.config, workers, nodes)
    strategy = start.config.placement_group_config.strategy
    phase.waiting_for = _explain(bundles, strategy, nodes)
    if not start.cluster.can_grow():
        _refuse_infeasible(bundles, strategy, nodes)
    start.candidates.set(candidates(bundles, nodes))
    group = await start.cluster.create_group(bundles, strategy, str(this_owner(start.id)))
    start.undos.push(UNDO, partial(start.cluster.remove_group, group), deadline_s=REMOVAL_DEADLINE_S)
    await start.cluster.wait_until_ready(group)
    set_by_system(start.context, "placement_group", group)


async def nodes_of_group(start: Start) -> Sequence[ClusterNode]:
    """Return the nodes that hold the group's bundles; none without a group."""
    group = start.context.placement_group
    if group is None:
        return ()
    placement = await start.cluster.placement_of(group)
    return [node for node in await start.cluster.nodes() if node.node_id in placement.node_ids]


def _refuse_infeasible(bundles: Sequence[Bundle], strategy: Strategy, nodes: Sequence[ClusterNode]) -> None:
    problem = why_never_placed(bundles, strategy, nodes)
    if problem is not None:
        raise InfeasibleGroupError(bundles, strategy, problem)


def _explain(bundles: Sequence[Bundle], strategy: Strategy, nodes: Sequence[ClusterNode]) -> str:
    problem = why_never_placed(bundles, strategy, nodes)
    return problem or f"{len(bundles)} bundle(s) wait for resources that are in use"
