"""The cluster that a node is placed on: its nodes, placement groups, and fetches on other nodes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from eventinit.ports.capacity import Capacity
from eventinit.ports.source import DownloadRequest, DownloadResult, OpenSource, Report

Strategy = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
Bundle = dict[str, float]

ACCELERATORS = frozenset({"GPU", "TPU", "NPU", "HPU", "neuron_cores"})
"""Ray's names of resources that are devices."""
ACCELERATOR_TYPE = "accelerator_type:"
"""What Ray puts before the type of a node's accelerators, such as ``A10G``, to name it as a resource of the node."""


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A living node of the cluster.

    Attributes:
        node_id: The cluster's own id for it.
        resources: All its resources, free or not, such as ``{"CPU": 8.0, "GPU": 1.0}``.
        is_local: Whether this process runs on it.
    """

    node_id: str
    resources: Mapping[str, float]
    is_local: bool


@dataclass(frozen=True, slots=True)
class GroupPlacement:
    """Where a placement group is: its bundles and, in the same order, the node of each (None while it waits)."""

    bundles: tuple[Bundle, ...]
    node_ids: tuple[str | None, ...]
    strategy: Strategy = "PACK"


class NodeFetch(Protocol):
    """A fetch as another node does it; it can be pickled."""

    @property
    def request(self) -> DownloadRequest:
        """What is fetched."""
        ...

    @property
    def report_interval_s(self) -> float:
        """How many seconds there are at least between two reports that the node sends."""
        ...

    async def run(self, open_source: OpenSource, report: Report) -> DownloadResult:
        """Fetch on the node where this is called."""
        ...


class Cluster(Protocol):
    """The cluster that a node is placed on. Groups are opaque: what ``create_group`` returns, or a user's own."""

    async def connect(self, address: str | None) -> bool:
        """Connect to the cluster that ``address`` or the environment names; return False when neither names one."""
        ...

    async def ensure_running(self) -> None:
        """Use the cluster this process is connected to; start an embedded one when there is none."""
        ...

    async def claim(self) -> None:
        """Take over a cluster that a hook has started since ``connect``; what is started from now on is not ours."""
        ...

    async def disconnect(self) -> None:
        """Give up what ``connect`` and ``ensure_running`` took; whatever ran before stays as it was."""
        ...

    def address(self) -> str | None:
        """Return where other processes find the cluster, or None when none is running."""
        ...

    async def nodes(self) -> Sequence[ClusterNode]:
        """List the living nodes."""
        ...

    async def capacity(self, group: object = None) -> Capacity:
        """Tell what the nodes have free and whether more may join, for a ``group`` that waits if one is given."""
        ...

    async def surrounding_group(self) -> object | None:
        """Return the group that this process itself was placed in, or None."""
        ...

    async def create_group(self, bundles: Sequence[Bundle], strategy: Strategy, name: str) -> object:
        """Ask for a placement group and return it at once; it may not be ready yet."""
        ...

    async def wait_until_ready(self, group: object) -> None:
        """Return when every bundle of the group is reserved; wait for as long as that takes."""
        ...

    async def placement_of(self, group: object) -> GroupPlacement:
        """Tell where a group is; raises ``PlacementError`` for what is no living placement group."""
        ...

    async def remove_group(self, group: object) -> None:
        """Remove a group, ready or not; removing it twice is harmless."""
        ...

    async def warm(self, node_id: str, runtime_env: Mapping[str, Any]) -> None:
        """Bring up on another node what a later ``fetch_on`` with the same environment needs; cancelling ends that."""
        ...

    async def fetch_on(
        self, node_id: str, fetch: NodeFetch, runtime_env: Mapping[str, Any], report: Report
    ) -> DownloadResult:
        """Run a fetch on another node and pass its reports on; cancelling ends it there and waits for that."""
        ...

    def serve(self, node_id: str, folder: Path, runtime_env: Mapping[str, Any]) -> AbstractAsyncContextManager[object]:
        """Serve what a fetch has left in a folder of one node to fetches on others, for as long as the block lasts.

        The block gets what goes into the ``peer`` of their requests.
        """
        ...
