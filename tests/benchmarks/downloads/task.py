"""What a contender is asked to do, and what became of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

Case = Literal["large", "large, hashed", "small", "hub"]
"""Few large files whose store has no checksum, few large ones with one, many small ones, and few large of a Hub."""

ALGORITHMS: dict[Case, str] = {"large": "md5", "large, hashed": "md5", "small": "md5", "hub": "sha256"}
"""The checksum that the store of a case has, if it has one."""

CASES: tuple[Case, ...] = ("large", "large, hashed", "small", "hub")


@dataclass(frozen=True, slots=True)
class Task:
    """One download.

    Attributes:
        case: What is downloaded.
        uri: Where from: ``s3://bucket/prefix``, or the id of a model at the Hub.
        folder: Where to; it does not exist yet.
        origin: The folder with the files that were uploaded.
        checksums: The store's checksum of each file, by its name; empty where there are none to compare.
    """

    case: Case
    uri: str
    folder: Path
    origin: Path
    checksums: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """What the checksums are."""
        return ALGORITHMS[self.case]

    @property
    def bucket(self) -> str:
        """The bucket of the URI."""
        return self.uri.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The prefix in the bucket."""
        return self.uri.removeprefix("s3://").partition("/")[2]


@dataclass(slots=True)
class Notes:
    """What a contender has to say about itself after a download.

    Attributes:
        startup_s: How long its program takes to do nothing; it is taken off the time.
        peak_bytes: The peak of a process that it started, if it did.
        ticks: When each tick of its event loop was due and when it came, if it has a loop (``time.monotonic``).
    """

    startup_s: float = 0.0
    peak_bytes: int = 0
    ticks: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])


class Contender(ABC):
    """Something that downloads. ``prepare`` imports what it needs; ``fetch`` is what the time is taken of.

    Attributes:
        name: What the tables call it.
        package: The distribution that has to be installed, if any.
        cases: What it takes part in.
        hashes: Whether it compares the store's checksums by itself; else the benchmark does, where they are compared.
        keeps: Whether it leaves the files in its folder.
        note: What a reader should know.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    cases: ClassVar[tuple[Case, ...]] = ("large", "large, hashed", "small")
    hashes: ClassVar[bool] = False
    keeps: ClassVar[bool] = True
    note: ClassVar[str] = ""

    def prepare(self) -> None:  # noqa: B027 - some import nothing
        """Import what the download needs."""

    @abstractmethod
    def fetch(self, task: Task, notes: Notes) -> Path:
        """Download, and return the folder that the files are in."""
