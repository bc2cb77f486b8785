"""Whole starts on the real Ray with a fake source and engine."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventinit import LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import InfeasibleGroupError
from eventinit.ports import Backends
from eventinit.testing import Fakes
from tests.real_ray import ray, states_in_ray

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

TRIALS = int(os.environ.get("EVENTINIT_TRIALS", "10"))


def on_real_ray() -> Backends:
    return replace(Fakes().backends(), cluster=RayCluster)


LOSS = """
import asyncio, sys, time
import psutil
from ray.cluster_utils import Cluster
from eventinit import EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import PlacementError
from eventinit.events import PlacementPending
from eventinit.ports import Backends
from eventinit.testing import Fakes

async def main(address):
    fakes, bus, lost_at = Fakes(), EventBus(), []
    backends = Backends(open_source=lambda *_, **__: fakes.source, cluster=RayCluster, engine=fakes.engine)

    @bus.on(PlacementPending)
    def lose(event):
        if not lost_at:
            lost_at.append(time.monotonic())
            [store] = [p for p in psutil.Process().children(recursive=True) if p.name() == "gcs_server"]
            store.kill()

    wanted = PlacementGroupConfig(bundle_per_worker={"CPU": 1})
    config = LLMConfig(model_id="tiny", ray_address=address, placement_group_config=wanted)
    try:
        async with initialize_node(config, bus=bus, backends=backends):
            print("started")
    except PlacementError as error:
        print(f"{time.monotonic() - lost_at[0]:.1f} {error}")

if __name__ == "__main__":
    import ray
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    ray.get(ray.util.placement_group([{"CPU": 1}]).ready())
    asyncio.run(main(cluster.address))
    ray.shutdown()
    cluster.shutdown()
"""


async def test_the_loss_of_rays_control_store_is_an_error_within_half_a_minute(tmp_path: Path) -> None:
    """In a process of its own, which lives on: Ray would end one that waits for the store for a minute."""
    script = tmp_path / "loss.py"
    script.write_text(LOSS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = await asyncio.create_subprocess_exec(sys.executable, script, env=environment, stdout=subprocess.PIPE)
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0
    seconds, _, message = output.decode().strip().splitlines()[-1].partition(" ")
    assert float(seconds) < 30
    assert "control store" in message


async def test_a_group_that_several_nodes_can_never_hold_fails_with_the_reason() -> None:
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        wanted = PlacementGroupConfig(bundles=({"CPU": 2},))
        config = LLMConfig(model_id="tiny", ray_address=cluster.address, placement_group_config=wanted)
        async with asyncio.timeout(60):
            with pytest.raises(InfeasibleGroupError, match=r"no node has CPU: 2.*no autoscaler runs"):
                async with initialize_node(config, backends=on_real_ray()):
                    pytest.fail("the start was to fail")
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def idle_ray() -> Iterator[None]:
    """A Ray of this process for the rest of the tests; before, each connects to a cluster of its own."""
    options = {"address": "local", "include_dashboard": False, "configure_logging": False, "log_to_driver": False}
    ray().init(num_cpus=2, **options)
    yield
    ray().shutdown()


@pytest.mark.usefixtures("idle_ray")
async def test_starts_in_a_row_on_an_idle_cluster_never_race_with_their_groups() -> None:
    for _ in range(TRIALS):
        async with initialize_node(LLMConfig(model_id="tiny"), backends=on_real_ray()) as node:
            assert node.is_running
    states = await asyncio.to_thread(states_in_ray)
    assert len(states) >= TRIALS
    assert set(states.values()) == {"REMOVED"}


@pytest.mark.usefixtures("idle_ray")
async def test_a_start_in_an_actor_uses_the_group_of_the_actor_and_leaves_it() -> None:
    """The actor is placed as Ray Serve places a replica: in the first bundle, its children in the same group."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    class Replica:
        async def start(self) -> tuple[str, str]:
            from dataclasses import replace

            from eventinit import EventBus, LLMConfig, initialize_node
            from eventinit.backends.ray_cluster import RayCluster
            from eventinit.events import PostPlacementGroup
            from eventinit.testing import Fakes

            bus, statuses = EventBus(), list[str]()
            backends = replace(Fakes().backends(), cluster=RayCluster)
            bus.on(PostPlacementGroup, lambda event: statuses.append(event.outcome.status))
            async with initialize_node(LLMConfig(model_id="tiny"), bus=bus, backends=backends) as node:
                group: Any = node.context.placement_group
                return statuses[0], group.id.hex()

    group: Any = ray().util.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_PACK", name="replica")
    placed = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
    replica = ray().remote(Replica).options(num_cpus=1, scheduling_strategy=placed).remote()
    try:
        await group.ready()
        before = await asyncio.to_thread(states_in_ray)
        assert await replica.start.remote() == ("supplied", group.id.hex())
        assert await asyncio.to_thread(states_in_ray) == before, "no group was ever made, not even one that is removed"
        assert before["replica"] == "CREATED"
    finally:
        ray().kill(replica)
        ray().util.remove_placement_group(group)
