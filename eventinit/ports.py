"""What a start needs from the world outside: where models come from, a cluster, and an engine.

Each port has one real implementation per kind (``eventinit.downloads``, ``eventinit.backends``) and a fake in
``eventinit.testing``. Implementations never block the event loop and may be cancelled at every await.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

DownloadMode = Literal["NONE", "TOKENIZER_ONLY", "EXCLUDE_SAFETENSORS", "MODEL_AND_TOKENIZER"]
"""What of a model is fetched: nothing, the tokenizer's files, all but the safetensors weights, or everything."""
DOWNLOAD_MODES: tuple[DownloadMode, ...] = (
    "NONE",
    "TOKENIZER_ONLY",
    "EXCLUDE_SAFETENSORS",
    "MODEL_AND_TOKENIZER",
)
"""The modes in ascending order: each fetches at least what the one before it fetches."""

Strategy = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]
Bundle = dict[str, float]


def union(first: DownloadMode, second: DownloadMode) -> DownloadMode:
    """Return the mode that fetches what either of two fetches."""
    return first if DOWNLOAD_MODES.index(first) >= DOWNLOAD_MODES.index(second) else second


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is: bytes and files that are there, and how many there will be."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """What a fetch left on this machine.

    Attributes:
        path: The local model folder.
        source: The URI, repository id or folder that the files came from.
        mode: What was fetched.
        files: How many files of the mode the folder holds.
        bytes_total: The size of these files.
        bytes_fetched: How many bytes came over the network; 0 when everything was there already.
        seconds: How long the fetch took.
    """

    path: Path
    source: str
    mode: DownloadMode
    files: int
    bytes_total: int
    bytes_fetched: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How files are fetched.

    Attributes:
        verify: ``size``: what is on disk already counts when its size and version are right; ``full``: when its
            checksum is right as well. What is fetched is always checked against the store's checksum, if it has one.
        max_concurrency: How many requests there are at a time.
        max_bandwidth: How many bytes per second come at most, in all; None is no limit.
        stall_timeout_s: For how many seconds no byte may come before a request counts as stalled.
        attempts: How often a request is tried on each mirror.
        include: Globs of names, relative to the model's folder; if there are any, a name has to match one.
        exclude: Globs of names that are not fetched.
    """

    verify: Literal["size", "full"] = "size"
    max_concurrency: int = 8
    max_bandwidth: float | None = None
    stall_timeout_s: float = 30.0
    attempts: int = 5
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class ModelSource(Protocol):
    """Where one model's files come from."""

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """Bring the files of the mode to this machine and return where they are.

        A file appears under its final name only when it is complete. ``report`` is called on the event loop.

        Raises:
            DownloadError: The files cannot be had; the class says why.
        """
        ...


class OpenSource(Protocol):
    """Gives the source of a model: a local folder, a Hugging Face id or a URI, or several mirrors of one model."""

    def __call__(self, model_source: str, *mirrors: str, settings: DownloadSettings) -> ModelSource:
        """Return the source; nothing is asked of it yet."""
        ...


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What another node is asked to fetch: a model from its mirrors, the files of a mode, and how."""

    sources: tuple[str, ...]
    mode: DownloadMode
    settings: DownloadSettings = DownloadSettings()


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

    def can_grow(self) -> bool:
        """Return whether nodes may still join, so that a group which does not fit now may fit later."""
        ...

    async def nodes(self) -> Sequence[ClusterNode]:
        """List the living nodes."""
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

    async def fetch_on(self, node_id: str, request: DownloadRequest, runtime_env: Mapping[str, Any]) -> DownloadResult:
        """Bring a model's files to another node; cancelling ends the fetch there."""
        ...


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What an engine is started with.

    Attributes:
        arguments: vLLM's engine arguments, ``model`` included.
        group: The placement group for the engine's workers, or None for workers on this node without one.
        on_cluster: Whether the workers run in the bundles of the group (vLLM's ``ray`` executor).
        cluster_address: Where the engine's processes find the cluster.
        runtime_env: The Ray runtime environment of the workers.
    """

    arguments: Mapping[str, Any]
    group: object | None
    on_cluster: bool
    cluster_address: str | None
    runtime_env: Mapping[str, Any]


class RunningEngine(Protocol):
    """An engine that has started."""

    @property
    def engine(self) -> Any:
        """The engine that users talk to; with vLLM an ``AsyncLLMEngine``."""
        ...

    async def wait_until_dead(self) -> str:
        """Return why the engine ended when it ends by itself."""
        ...

    async def stop(self, grace_s: float) -> None:
        """End the engine and all its processes: politely at first, by force after ``grace_s`` seconds."""
        ...


class EngineBackend(Protocol):
    """Starts engines of one kind."""

    async def argument_names(self) -> frozenset[str]:
        """Load the engine's code and return the names of the arguments it takes."""
        ...

    async def launch(self, request: EngineRequest) -> RunningEngine:
        """Start an engine; when that fails or is cancelled no process or file of it is left.

        Raises:
            EngineError: It did not start; the class says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Backends:
    """The parts that a start is made of; ``eventinit.testing`` has fakes of all three.

    Attributes:
        open_source: Gives the source of a ``model_source``.
        cluster: Gives the cluster of one start; called once for each.
        engine: Starts the engine.
    """

    open_source: OpenSource
    cluster: Callable[[], Cluster]
    engine: EngineBackend
