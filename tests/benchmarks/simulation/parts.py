"""A store and a cluster that exist only in virtual time."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from anyio import create_task_group, move_on_after, sleep

from eventinit.latest import INTERVAL_S
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings, FetchProgress, NodeFetch, Report
from eventinit.testing import FakeCluster
from tests.benchmarks.simulation.hardware import Hardware
from tests.benchmarks.simulation.pipe import Pipe

PATH = Path("/models/simulated")
_SPREAD = 0.6180339887
"""Multiples of the golden ratio leave parts between 0 and 1 that lie apart evenly, however many there are."""


@final
@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """Implements the ``ModelSource`` port: the bytes come through a pipe, and no faster than that.

    Attributes:
        pipe: What they come through.
        hardware: What is fetched.
        interval_s: How many seconds there are between two reports.
    """

    pipe: Pipe
    hardware: Hardware
    interval_s: float = INTERVAL_S
    can_be_shared: bool = True

    async def fetch(self, mode: DownloadMode, report: Report) -> DownloadResult:
        """Take the time of the transfer, and report it."""
        size, files = self.hardware.model_bytes, self.hardware.model_files
        transfer = self.pipe.begin(size)
        while not transfer.ended.is_set():
            done = self.pipe.done(transfer)
            report(FetchProgress(done, size, files * done // size, files))
            with move_on_after(self.interval_s):
                await transfer.ended.wait()
        report(FetchProgress(size, size, files, files))
        return DownloadResult(PATH, "s3://models/simulated", mode, files, size, size, 0.0)


@final
class SimulatedCluster(FakeCluster):
    """A fake cluster whose nodes become free at different times and share bandwidth; ``group_nodes`` are all of them.

    Attributes:
        store: What comes from the store.
        hardware: What the nodes are made of.
    """

    def __init__(self, hardware: Hardware, nodes: int, store: Pipe) -> None:
        self.store = store
        self.hardware = hardware
        resources = [_resources(index) for index in range(nodes)]
        self._busy = range(nodes - int(nodes * hardware.busy_share), nodes)
        self._free = [*resources[: self._busy.start], *({} for _ in self._busy)]
        super().__init__(resources=resources, free=self._free, group_nodes=[f"node-{index}" for index in range(nodes)])

    async def wait_until_ready(self, group: object) -> None:
        """Let the others be through with the nodes that they use, one after the other; then the group is ready."""
        for index in self._busy:
            await sleep(self.hardware.busy_s / len(self._busy))
            self._free[index] = self.resources[index]
        self._busy = range(0)
        await super().wait_until_ready(group)

    async def warm(self, node_id: str, runtime_env: Mapping[str, Any]) -> None:
        """Start the node's worker process."""
        if node_id not in self.warmed:
            least_s, spread_s = self.hardware.worker_start_s
            await sleep(least_s + spread_s * (_index(node_id) * _SPREAD % 1.0))
            self.warmed.add(node_id)

    async def fetch_on(
        self, node_id: str, fetch: NodeFetch, runtime_env: Mapping[str, Any], report: Report
    ) -> DownloadResult:
        """Fetch through the store's pipe or the peers', and report as seldom as a node is asked to."""
        await sleep(self.hardware.submit_s * _index(node_id))
        await self.warm(node_id, runtime_env)
        pipe = fetch.request.peer if isinstance(fetch.request.peer, Pipe) else self.store

        def open_source(model_source: str, *mirrors: str, settings: DownloadSettings) -> SimulatedSource:
            return SimulatedSource(pipe, self.hardware, fetch.report_interval_s)

        return await fetch.run(open_source, report)

    @asynccontextmanager
    async def serve(self, node_id: str, folder: Path, runtime_env: Mapping[str, Any]) -> AsyncGenerator[Pipe]:  # type: ignore[override]
        """Have what a peer gives carried while the block lasts."""
        rate = self.hardware.receive_rate(len(self.resources) - 1, DownloadSettings().max_concurrency)
        pipe = Pipe(each=rate, total=rate * len(self.resources))
        async with create_task_group() as tasks:
            tasks.start_soon(pipe.run)
            yield pipe
            self.peer_bytes += pipe.bytes_carried
            tasks.cancel_scope.cancel()


def _index(node_id: str) -> int:
    return int(node_id.removeprefix("node-"))


def _resources(index: int) -> dict[str, float]:
    """Return a node's resources as Ray names them; one of them is the node's own."""
    return {
        "CPU": 96.0,
        "GPU": 8.0,
        "memory": 1.5e12,
        "object_store_memory": 2e11,
        "accelerator_type:H100": 1.0,
        f"node:10.{index // 65536}.{index // 256 % 256}.{index % 256}": 1.0,
    }
