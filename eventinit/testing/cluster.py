"""A cluster that exists only in memory."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyio import sleep, sleep_forever
from anyio.lowlevel import checkpoint

from eventinit.errors import PlacementError
from eventinit.ports import (
    Bundle,
    Capacity,
    ClusterNode,
    DownloadMode,
    DownloadResult,
    DownloadSettings,
    GroupPlacement,
    NodeCapacity,
    NodeFetch,
    Report,
    Strategy,
)
from eventinit.testing.source import FakeSource

LOCAL = "node-0"


@dataclass(eq=False, slots=True)
class FakeGroup:
    """A placement group of a ``FakeCluster``; a test may make one and supply it to a start.

    Attributes:
        bundles: What it reserves.
        node_ids: The node of each bundle, None for one that waits; by default all are on this one.
        removed: Whether it has been removed.
        strategy: How its bundles are spread.
    """

    bundles: list[Bundle]
    node_ids: list[str | None] = field(default_factory=list[str | None])
    removed: bool = False
    strategy: Strategy = "PACK"

    def __post_init__(self) -> None:
        self.node_ids = self.node_ids or [LOCAL] * len(self.bundles)


@dataclass(eq=False, slots=True)
class FakePeer:
    """A node of a ``FakeCluster`` that serves its files to others.

    Attributes:
        node_id: The node.
        ended: Whether that is over.
        receivers: The nodes that fetched from it.
    """

    node_id: str
    ended: bool = False
    receivers: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class FakeCluster:
    """Implements the ``Cluster`` port.

    Attributes:
        source: What other nodes fetch from.
        sources: What single nodes fetch from instead, by their ids, such as one that fails.
        resources: The resources of each node; the first is this one.
        free: What is free on each node; None is everything.
        ready_after_s: How long a group takes to become ready; None is forever.
        autoscales: Whether an autoscaler runs, so that nodes may still join.
        starting: How many nodes of which type the autoscaler is starting.
        refuses: Whether the autoscaler says that it has no nodes which help.
        surrounding: The group that this process runs in, as a Ray Serve replica does.
        group_nodes: The nodes that bundles are placed on in turn.
        fails_with: Raised when a group is asked for.
        groups: Every group that was made.
        running: Whether the cluster is up.
        fetched_on: The node and mode of each fetch on another node.
        stopped_on: The node and mode of each that failed or was cancelled.
        worker_start_s: How long another node takes to become ready for its first fetch, unless it was warmed.
        warmed: The nodes that were warmed, or have fetched.
        warming_fails_with: Raised when a node is warmed.
        peers: Every node that served its files.
        store_bytes: What the other nodes fetched from the store.
        peer_bytes: What they received from peers.
    """

    source: FakeSource = field(default_factory=FakeSource)
    sources: dict[str, FakeSource] = field(default_factory=dict[str, FakeSource])
    resources: list[dict[str, float]] = field(default_factory=lambda: [{"CPU": 8.0}])
    free: list[dict[str, float]] | None = None
    ready_after_s: float | None = 0.0
    autoscales: bool = False
    starting: dict[str, int] = field(default_factory=dict[str, int])
    refuses: bool = False
    surrounding: FakeGroup | None = None
    group_nodes: list[str] = field(default_factory=lambda: [LOCAL])
    fails_with: Exception | None = None
    groups: list[FakeGroup] = field(default_factory=list[FakeGroup])
    running: bool = False
    fetched_on: list[tuple[str, DownloadMode]] = field(default_factory=list[tuple[str, DownloadMode]])
    stopped_on: list[tuple[str, DownloadMode]] = field(default_factory=list[tuple[str, DownloadMode]])
    worker_start_s: float = 0.0
    warmed: set[str] = field(default_factory=set[str])
    warming_fails_with: Exception | None = None
    peers: list[FakePeer] = field(default_factory=list[FakePeer])
    store_bytes: int = 0
    peer_bytes: int = 0

    async def connect(self, address: str | None) -> bool:
        """Connect when an address is given."""
        if address is not None:
            await self.ensure_running()
        return self.running

    async def ensure_running(self) -> None:
        """Bring the cluster up."""
        await checkpoint()
        self.running = True

    async def claim(self) -> None:
        """Do nothing: only this start brings the cluster up."""

    async def disconnect(self) -> None:
        """Take the cluster down."""
        await checkpoint()
        self.running = False

    def address(self) -> str | None:
        """Return an address while the cluster is up."""
        return "fake-cluster:0" if self.running else None

    async def nodes(self) -> Sequence[ClusterNode]:
        """List a node for each entry of ``resources``."""
        await checkpoint()
        return [
            ClusterNode(f"node-{index}", resources, is_local=index == 0)
            for index, resources in enumerate(self.resources)
        ]

    async def capacity(self, group: object = None) -> Capacity:
        """Tell what is free, and what the autoscaler does."""
        await checkpoint()
        free = self.resources if self.free is None else self.free
        nodes = tuple(
            NodeCapacity(f"node-{index}", f"node-{index}", amounts, left)
            for index, (amounts, left) in enumerate(zip(self.resources, free, strict=True))
        )
        return Capacity(nodes, "running" if self.autoscales else "none", self.starting, self.refuses)

    async def surrounding_group(self) -> FakeGroup | None:
        """Return ``surrounding``."""
        await checkpoint()
        return self.surrounding

    async def create_group(self, bundles: Sequence[Bundle], strategy: Strategy, name: str) -> FakeGroup:
        """Make a group whose bundles all wait; raises ``fails_with`` if that is set."""
        await checkpoint()
        if self.fails_with is not None:
            raise self.fails_with
        group = FakeGroup(list(bundles), [None] * len(bundles), strategy=strategy)
        self.groups.append(group)
        return group

    async def wait_until_ready(self, group: object) -> None:
        """Wait ``ready_after_s`` seconds, or forever, then place the bundles that still wait."""
        if self.ready_after_s is None:
            await sleep_forever()
        else:
            await sleep(self.ready_after_s)
        if isinstance(group, FakeGroup):
            places = [self.group_nodes[index % len(self.group_nodes)] for index in range(len(group.bundles))]
            group.node_ids = [now or place for now, place in zip(group.node_ids, places, strict=True)]

    async def placement_of(self, group: object) -> GroupPlacement:
        """Tell where a living ``FakeGroup`` is.

        Raises:
            PlacementError: It is something else, or has been removed.
        """
        await checkpoint()
        if not isinstance(group, FakeGroup) or group.removed:
            raise PlacementError(f"{group!r} is no living placement group; supply one that exists")
        return GroupPlacement(tuple(group.bundles), tuple(group.node_ids), group.strategy)

    async def remove_group(self, group: object) -> None:
        """Remove a group."""
        await checkpoint()
        if isinstance(group, FakeGroup):
            group.removed = True

    async def warm(self, node_id: str, runtime_env: Mapping[str, Any]) -> None:
        """Take ``worker_start_s`` once for each node; raises ``warming_fails_with`` if that is set."""
        if self.warming_fails_with is not None:
            raise self.warming_fails_with
        await self._start_worker(node_id)

    async def fetch_on(
        self, node_id: str, fetch: NodeFetch, runtime_env: Mapping[str, Any], report: Report
    ) -> DownloadResult:
        """Run the fetch in this process, from the node's source, and note how it ended."""

        def open_source(model_source: str, *mirrors: str, settings: DownloadSettings) -> FakeSource:  # noqa: ARG001
            return self.sources.get(node_id, self.source)

        ended = self.stopped_on
        try:
            await self._start_worker(node_id)
            result = await fetch.run(open_source, report)
            self._count(node_id, fetch.request.peer, result.bytes_fetched)
            ended = self.fetched_on
            return result
        finally:
            ended.append((node_id, fetch.request.mode))

    async def _start_worker(self, node_id: str) -> None:
        await sleep(0.0 if node_id in self.warmed else self.worker_start_s)
        self.warmed.add(node_id)

    def _count(self, node_id: str, peer: object | None, fetched: int) -> None:
        if isinstance(peer, FakePeer):
            peer.receivers.append(node_id)
            self.peer_bytes += fetched
        else:
            self.store_bytes += fetched

    @asynccontextmanager
    async def serve(self, node_id: str, folder: Path, runtime_env: Mapping[str, Any]) -> AsyncGenerator[FakePeer]:
        """Note the node as a peer until the block ends."""
        peer = FakePeer(node_id)
        self.peers.append(peer)
        try:
            yield peer
        finally:
            peer.ended = True
