"""Groups that wait on a real Ray cluster while its nodes come and go."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from eventinit import EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import InfeasibleGroupError
from eventinit.events import PlacementPending
from eventinit.ports import Backends
from eventinit.testing import Fakes
from tests.real.cluster_start import NOTICES_SOON
from tests.real_ray import no_ray_left

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module", autouse=True)
def no_ray_is_left() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, no_ray_left(patch):
        yield


@dataclass(frozen=True, slots=True)
class RayNodes:
    """A running cluster, and those of its nodes that a test kills."""

    cluster: Any
    doomed: dict[str, Any]

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self.cluster.remove_node, self.doomed[name], allow_graceful=False)


@pytest.fixture(scope="module")
def nodes(no_ray_is_left: None) -> Iterator[RayNodes]:
    """A head with a gate, two nodes with a ``few``, and three with a ``many``."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "resources": {"gate": 1}, "_system_config": NOTICES_SOON}
    running: Any = Cluster(initialize_head=True, head_node_args=head)
    try:
        kinds = ("few", "few", "many", "many", "many")
        yield RayNodes(running, {kind: running.add_node(resources={kind: 1}) for kind in kinds})
    finally:
        running.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nodes: RayNodes) -> AsyncIterator[RayCluster]:
    """The connection that a gate belongs to; starts use it too."""
    connected = RayCluster()
    assert await connected.connect(nodes.cluster.address)
    yield connected
    await connected.disconnect()


def on_real_ray() -> Backends:
    return replace(Fakes().backends(), cluster=RayCluster)


def reserving(*bundles: dict[str, float]) -> LLMConfig:
    wanted = PlacementGroupConfig(bundles=bundles)
    return LLMConfig(model_id="tiny", worker_node_download_model="NONE", placement_group_config=wanted)


@pytest_asyncio.fixture(loop_scope="module")
async def gate(cluster: RayCluster) -> AsyncIterator[object]:
    """A group that holds the gate, for which those of the tests have to wait."""
    group = await cluster.create_group([{"gate": 1}], "PACK", "gate")
    await cluster.wait_until_ready(group)
    yield group
    await cluster.remove_group(group)


async def test_a_node_that_is_killed_while_the_group_waits_for_it_fails_the_start_with_the_reason(
    cluster: RayCluster, nodes: RayNodes, gate: object
) -> None:
    bus, killed_at = EventBus(), list[float]()

    @bus.on(PlacementPending, once=True)
    async def strike(event: PlacementPending) -> None:
        await nodes.kill("few")
        killed_at.append(time.monotonic())

    async with asyncio.timeout(60):
        with pytest.raises(InfeasibleGroupError, match=r"2 bundles ask for few: 1 each and the nodes have room for 1"):
            async with initialize_node(reserving({"few": 1}, {"few": 1}, {"gate": 1}), bus=bus, backends=on_real_ray()):
                pytest.fail("the start was to fail")
    assert time.monotonic() - killed_at[0] < 30


async def test_a_group_that_loses_a_node_while_it_waits_is_placed_on_the_others(
    cluster: RayCluster, nodes: RayNodes, gate: object
) -> None:
    bus, told = EventBus(), list[PlacementPending]()

    @bus.on(PlacementPending)
    async def strike(event: PlacementPending) -> None:
        told.append(event)
        if len(told) == 1:
            await nodes.kill("many")
        elif len([node for node in await cluster.nodes() if "many" in node.resources]) == 2:
            await cluster.remove_group(gate)

    async with asyncio.timeout(60):
        config = reserving({"many": 1}, {"many": 1}, {"gate": 1})
        async with initialize_node(config, bus=bus, backends=on_real_ray()) as node:
            placement = await cluster.placement_of(node.context.placement_group)
    assert None not in placement.node_ids
    assert nodes.doomed["many"].node_id not in placement.node_ids
