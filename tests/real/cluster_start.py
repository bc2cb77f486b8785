"""Two starts on two Ray nodes with fake GPUs, told as JSON on standard output: see test_cluster_start.py.

A process of its own, since a process has one platform of vLLM.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from eventinit import LLMConfig, Node, PlacementGroupConfig, initialize_node
from eventinit.errors import EventInitError
from tests.real.environment import TINY_ENGINE

ELSEWHERE = "elsewhere:1"
BUNDLE = {"CPU": 1, "GPU": 1}
NOTICES_SOON = {"health_check_period_ms": 500}
PATIENCE_S = 90
CLOSED_GATE = {"gate": 1}
CLOSE = """
import sys, ray
ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
ray.get(ray.util.placement_group([{"gate": 1}], name="gate", lifetime="detached").ready())
"""


class TwoNodes:
    """A Ray of two nodes on this machine, each with one GPU, so that a group of two spreads over both.

    A group with ``CLOSED_GATE`` could be placed and never is, since another group, which is none of ours, has the gate.
    """

    def __init__(self) -> None:
        head = {**self._one("first", gate=1), "include_dashboard": False, "_system_config": NOTICES_SOON}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._second: Any = self._cluster.add_node(**self._one("second"))
        self.address: str = self._cluster.address

    def _one(self, name: str, **more: float) -> dict[str, Any]:
        return {"num_cpus": 2, "num_gpus": 1, "resources": {name: 1, **more}}

    def close_the_gate(self) -> None:
        """Have a driver that ends again make the group with the gate."""
        subprocess.run([sys.executable, "-c", CLOSE, self.address], check=True)

    def kill_second(self) -> None:
        self._cluster.remove_node(self._second, allow_graceful=False)

    def shutdown(self) -> None:
        session = self._cluster.head_node.get_session_dir_path()
        self._cluster.shutdown()
        shutil.rmtree(session, ignore_errors=True)

    def nodes_of(self, group: Any) -> list[str]:
        """Return the node of each bundle."""
        table: dict[str, Any] = self._cluster.global_state.placement_group_table(group.id)
        return [table["bundles_to_node_id"][index] for index in sorted(table["bundles"])]

    def living_groups(self) -> list[str]:
        table: dict[str, Any] = self._cluster.global_state.placement_group_table(None)
        return [group["name"] for group in table.values() if group["state"] != "REMOVED" and group["name"] != "gate"]

    def has_lost_driver(self, pid: int) -> bool:
        """Return whether Ray has noticed that a driver ended."""
        return any(job["IsDead"] for job in self._cluster.global_state.job_table() if job["DriverPid"] == pid)

    def living_actors(self, *states: str) -> list[str]:
        table: dict[str, Any] = self._cluster.global_state.actor_table(None)
        return [
            actor["Name"] for actor in table.values() if actor["State"] in (states or ("PENDING_CREATION", "ALIVE"))
        ]


async def main(model_source: str, cluster: TwoNodes) -> dict[str, Any]:
    config = LLMConfig(
        model_id="tiny",
        model_source=model_source,
        ray_address=cluster.address,
        runtime_env={"env_vars": {"EVENTINIT_MARK": "of the runtime_env"}},
        placement_group_config=PlacementGroupConfig(bundles=(BUNDLE, BUNDLE), strategy="STRICT_SPREAD"),
        engine_kwargs={**TINY_ENGINE, "tensor_parallel_size": 2, "worker_extension_cls": "fake_gpu.Whereabouts"},
    )
    os.environ["RAY_ADDRESS"] = ELSEWHERE
    return {
        "whole": await whole(config, cluster),
        "node lost": await interrupted(config, cluster, cluster.kill_second),
    }


async def whole(config: LLMConfig, cluster: TwoNodes) -> dict[str, Any]:
    async with initialize_node(config) as node:
        group: Any = node.context.placement_group
        told = {
            "answer": await answer(node),
            "workers": await node.engine.collective_rpc("whereabouts"),
            "group": group.id.hex(),
            "nodes": await asyncio.to_thread(cluster.nodes_of, group),
        }
    return told | await left(cluster)


async def interrupted(config: LLMConfig, cluster: TwoNodes, strike: Callable[[], None]) -> dict[str, Any]:
    """Strike in the moment in which the workers have come up but not the engine."""

    async def start() -> None:
        async with initialize_node(config):
            raise AssertionError("the start was to end before")

    starting = asyncio.create_task(start())
    while len(await asyncio.to_thread(cluster.living_actors, "ALIVE")) < 2 and not starting.done():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    began = time.monotonic()
    await asyncio.to_thread(strike)
    told: dict[str, Any] = {"error": None}
    try:
        async with asyncio.timeout(PATIENCE_S):
            await starting
    except (EventInitError, TimeoutError) as error:
        told = {"error": type(error).__name__, "message": str(error)}
    return told | {"seconds": time.monotonic() - began} | await left(cluster)


async def answer(node: Node) -> str:
    from vllm import SamplingParams

    text = ""
    async for output in node.engine.generate("the quick", SamplingParams(max_tokens=4, ignore_eos=True), "one"):
        text = output.outputs[0].text
    return text


async def left(cluster: TwoNodes) -> dict[str, Any]:
    """Return what there still is of a start a moment after its end."""

    def ask() -> dict[str, Any]:
        return {
            "groups": cluster.living_groups(),
            "actors": cluster.living_actors(),
            "processes": engine_processes(),
            "folders": [path.name for path in Path(os.environ["TMPDIR"]).glob("eventinit-*")],
        }

    found = await asyncio.to_thread(ask)
    deadline = time.monotonic() + 10
    while any(found.values()) and time.monotonic() < deadline:  # Ray ends the actors of a dead job in its own time
        await asyncio.sleep(0.1)
        found = await asyncio.to_thread(ask)
    return {"left": found, "address_restored": os.environ["RAY_ADDRESS"] == ELSEWHERE}


def engine_processes() -> list[str]:
    """Return the processes below this one that are vLLM's: its core, and the actors that Ray runs for it."""
    found: list[str] = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "VLLM" in line or "RayWorkerProc" in line or "spawn_main" in line:
            found.append(line[:120])
    return found


if __name__ == "__main__":
    two_nodes = TwoNodes()
    try:
        print("REPORT " + json.dumps(asyncio.run(main(sys.argv[1], two_nodes))))
    finally:
        two_nodes.shutdown()
