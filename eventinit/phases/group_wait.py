"""Waiting for a placement group, and telling meanwhile what it waits for."""

from anyio import CancelScope, sleep

from eventinit import clock
from eventinit.errors import InfeasibleGroupError
from eventinit.events import PlacementPending
from eventinit.joining import together
from eventinit.phases.fitting import why_never_placed
from eventinit.phases.pending import describe
from eventinit.ports import Capacity, GroupPlacement
from eventinit.start import PhaseRun, Start

FIRST_REPORT_S = 1.0
REPORT_INTERVAL_S = 2.0


async def wait_for_group(start: Start, phase: PhaseRun, group: object) -> None:
    """Return when a group is ready; tell what it waits for after one second, and then every two.

    Raises:
        InfeasibleGroupError: The nodes can never hold it, and no further ones come by themselves.
        PlacementError: The group or the cluster is gone.
    """
    reporting = CancelScope()

    async def wait() -> None:
        await start.cluster.wait_until_ready(group)
        reporting.cancel()

    async def report() -> None:
        with reporting:
            began = clock.monotonic()
            await sleep(FIRST_REPORT_S)
            while True:
                placement = await start.cluster.placement_of(group)
                capacity = await start.cluster.capacity(group)
                await start.bus.emit(assess(start, phase, placement, capacity, clock.monotonic() - began))
                await sleep(REPORT_INTERVAL_S)

    await together(wait, report)


def assess(
    start: Start, phase: PhaseRun, placement: GroupPlacement, capacity: Capacity, waited_s: float = 0.0
) -> PlacementPending:
    """Return what a group waits for, and have the phase say so when its time is up.

    An autoscaler that has started nodes may have refused the group for having reached its limits, which changes when it
    stops idle ones; so only one whose sole node is the head is taken at its word.

    Raises:
        InfeasibleGroupError: The nodes can never hold it, and no further ones come by themselves.
    """
    bundles, strategy = placement.bundles, placement.strategy
    problem = why_never_placed(bundles, strategy, [node.resources for node in capacity.nodes])
    if problem is not None and capacity.autoscaler == "none":
        raise InfeasibleGroupError(bundles, strategy, f"{problem}, and no autoscaler runs")
    if problem is not None and capacity.refused and len(capacity.nodes) == 1 and not capacity.starting:
        raise InfeasibleGroupError(bundles, strategy, f"{problem}, and the autoscaler has no nodes to add that help")
    event = describe(start.id, placement, capacity, waited_s)
    phase.waiting_for = event.explanation
    return event
