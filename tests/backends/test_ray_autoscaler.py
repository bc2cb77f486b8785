"""A group that waits for the nodes that Ray's own autoscaler starts, real raylets on this machine.

``ray.cluster_utils.AutoscalingCluster`` cannot serve: it lacks a file that Ray's wheel does not bring
(``fake_multi_node/example.yaml``), and would first end every Ray of the machine. The second version of the autoscaler
wants the same file when its nodes are of this machine, so this is the first.
"""

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.backends.process_tree import end_trees
from eventinit.backends.ray_cluster import RayCluster
from eventinit.events import PlacementPending
from eventinit.ports import Backends
from eventinit.testing import Fakes
from tests.real_ray import no_ray_left, ray, ray_processes

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

HEAD_ID = "f" * 51 + "00000"
"""By which Ray's provider of nodes on this machine knows the head."""
HEAD_TYPE = "ray.head.default"
VARIABLES = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "0"}
STARTS_WITHIN_S = 120


def configuration(port: int) -> dict[str, Any]:
    """What the autoscaler reads: three nodes with a slot each may be started."""
    types = {
        HEAD_TYPE: {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "slotted": {"resources": {"CPU": 1, "slot": 1}, "node_config": {}, "min_workers": 0, "max_workers": 3},
    }
    provider = {
        "type": "fake_multinode",
        "gcs_address": f"{_own_address()}:{port}",
        "head_node_id": HEAD_ID,
        "launch_multiple": True,
    }
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    commands = {name: list[str]() for name in (*lists, "head_start_ray_commands", "worker_start_ray_commands")}
    return {
        "cluster_name": "growing",
        "max_workers": 3,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": provider,
        "available_node_types": types,
        "head_node_type": HEAD_TYPE,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        **commands,
    }


def _own_address() -> str:
    return str(ray().util.get_node_ip_address())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a head with an autoscaler."""
    from ray.cluster_utils import Cluster

    with no_ray_left(monkeypatch):
        port, file = _free_port(), tmp_path / "autoscaling.json"
        file.write_text(json.dumps(configuration(port)))
        head = {"num_cpus": 1, "include_dashboard": False, "gcs_server_port": port, "autoscaling_config": str(file)}
        with monkeypatch.context() as patch:
            for name, value in VARIABLES.items():
                patch.setenv(name, value)
            running: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield running.address
        finally:
            # The nodes that were started are its children, and would live on without it.
            end_trees(each for each in ray_processes() if "/autoscaler/_private/monitor.py" in " ".join(each.cmdline()))
            running.shutdown()


def on_real_ray() -> Backends:
    return replace(Fakes().backends(), cluster=RayCluster)


async def test_a_group_is_placed_on_nodes_that_the_autoscaler_starts_for_it_and_these_are_told(
    address: str,
) -> None:
    bus, told = EventBus(), list[PlacementPending]()
    bus.on(PlacementPending, told.append)
    wanted = PlacementGroupConfig(bundles=({"slot": 1},) * 3)
    config = LLMConfig(
        model_id="tiny", ray_address=address, worker_node_download_model="NONE", placement_group_config=wanted
    )
    async with asyncio.timeout(STARTS_WITHIN_S):
        async with initialize_node(config, bus=bus, backends=on_real_ray()) as node:
            assert node.is_running
    assert told[0].explanation.startswith("3 of 3 bundle(s) wait for slot: 1 each; no node has any slot free; the auto")
    # They come one after another, which takes longer than there is between two of the events.
    assert any(event.starting.get("slotted") for event in told), [event.explanation for event in told]
