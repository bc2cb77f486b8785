"""Where models come from: what is fetched, how, and what a fetch tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

DownloadMode = Literal["NONE", "TOKENIZER_ONLY", "EXCLUDE_SAFETENSORS", "MODEL_AND_TOKENIZER"]
"""What of a model is fetched: nothing, the tokenizer's files, all but the safetensors weights, or everything."""
DOWNLOAD_MODES: tuple[DownloadMode, ...] = (
    "NONE",
    "TOKENIZER_ONLY",
    "EXCLUDE_SAFETENSORS",
    "MODEL_AND_TOKENIZER",
)
"""The modes in ascending order: each fetches at least what the one before it fetches."""


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


Report = Callable[[FetchProgress], None]


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


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What is to be fetched: a model from its mirrors, the files of a mode, and how.

    Attributes:
        sources: The mirrors.
        mode: What of the model.
        settings: How.
        peer: What ``Cluster.serve`` gave, to receive the files from another node; None to fetch them.
    """

    sources: tuple[str, ...]
    mode: DownloadMode
    settings: DownloadSettings = field(default_factory=DownloadSettings)
    peer: object | None = None


class ModelSource(Protocol):
    """Where one model's files come from."""

    @property
    def can_be_shared(self) -> bool:
        """Whether a node that has the files can serve them to others (``Cluster.serve``)."""
        ...

    async def fetch(self, mode: DownloadMode, report: Report) -> DownloadResult:
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
