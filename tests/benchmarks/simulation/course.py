"""One start on simulated nodes, in virtual time, and what it took."""

import gc
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import final

import anyio
from anyio import create_task_group
from trio.testing import MockClock

from eventinit import Event, EventBus, LLMConfig, initialize_node
from eventinit.clock import set_clock
from eventinit.config import Distribution, DownloadConfig, PlacementGroupConfig
from eventinit.ports import Backends, DownloadSettings
from eventinit.testing import FakeEngineBackend
from tests.benchmarks.simulation.hardware import Hardware
from tests.benchmarks.simulation.longest_step import LongestStep
from tests.benchmarks.simulation.parts import SimulatedCluster, SimulatedSource
from tests.benchmarks.simulation.pipe import Pipe


@final
class VirtualClock:
    """Has what eventinit stamps and measures go by a virtual clock."""

    def __init__(self, clock: MockClock) -> None:
        self.now = self.monotonic = clock.current_time


@dataclass(frozen=True, slots=True)
class Figures:
    """What one start took.

    Attributes:
        seconds: From the call to the end of the shutdown.
        cpu_s: Processor time of that.
        virtual_s: The same in virtual time.
        longest_step_s: The most processor time for which a task held the event loop; collecting garbage is left out.
        growth_bytes: How much the resident memory grew at its peak.
        store_bytes: What all nodes read from the store.
        peer_bytes: What they received from peers.
        events: How many events of each class there were.
        observed: How many of them an observer of all was given.
        dropped: How many it lost because its queue was full.
    """

    seconds: float
    cpu_s: float
    virtual_s: float
    longest_step_s: float
    growth_bytes: int
    store_bytes: int
    peer_bytes: int
    events: dict[str, int]
    observed: int
    dropped: int

    @property
    def emitted(self) -> int:
        """How many events there were."""
        return sum(self.events.values())


def simulate(nodes: int, distribution: Distribution, hardware: Hardware) -> Figures:
    """Start one node whose group has so many cluster nodes, end it, and return what that took."""
    clock = MockClock(autojump_threshold=0)
    before = set_clock(VirtualClock(clock))
    try:
        return anyio.run(_simulate, nodes, distribution, hardware, backend="trio", backend_options={"clock": clock})
    finally:
        set_clock(before)


async def _simulate(nodes: int, distribution: Distribution, hardware: Hardware) -> Figures:
    store = Pipe(each=hardware.read_rate(DownloadSettings().max_concurrency), total=hardware.store_rate)
    cluster = SimulatedCluster(hardware, nodes, store)
    bus, events, observed = EventBus(), Counter[str](), 0

    @bus.on(Event)
    def count(event: Event) -> None:
        events[type(event).__name__] += 1

    async def watch(event: Event) -> None:
        nonlocal observed
        observed += 1

    watching = bus.observe(Event, watch)
    gc.collect()
    memory, began_at = _memory("VmRSS"), anyio.current_time()
    began, cpu = time.perf_counter(), time.process_time()
    with LongestStep.noted() as steps:
        async with create_task_group() as tasks:
            tasks.start_soon(store.run)
            async with initialize_node(
                _config(nodes, distribution), bus=bus, backends=_backends(cluster, store, hardware)
            ):
                pass
            tasks.cancel_scope.cancel()
    return Figures(
        seconds=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        virtual_s=anyio.current_time() - began_at,
        longest_step_s=steps.longest_s,
        growth_bytes=_memory("VmHWM") - memory,
        store_bytes=store.bytes_carried,
        peer_bytes=cluster.peer_bytes,
        events=dict(events),
        observed=observed,
        dropped=watching.status().dropped,
    )


def _config(nodes: int, distribution: Distribution) -> LLMConfig:
    return LLMConfig(
        model_id="simulated",
        model_source="s3://models/simulated",
        download=DownloadConfig(distribution=distribution),
        engine_kwargs={"pipeline_parallel_size": nodes},
        placement_group_config=PlacementGroupConfig(
            bundle_per_worker={"CPU": 8.0, "GPU": 8.0}, strategy="STRICT_SPREAD"
        ),
    )


def _backends(cluster: SimulatedCluster, store: Pipe, hardware: Hardware) -> Backends:
    def open_source(model_source: str, *mirrors: str, settings: DownloadSettings) -> SimulatedSource:
        return SimulatedSource(store, hardware)

    return Backends(open_source, lambda: cluster, FakeEngineBackend(seconds=hardware.engine_s))


def _memory(line: str) -> int:
    # Not ru_maxrss: a process inherits it from the one that started it.
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024
