"""What is known of a model in a cache: its files, what they must be, and how complete it is."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.manifest import FinishedMode
from eventinit.downloads.remote import Checksum
from eventinit.ports import DownloadSettings

Root = Literal["eventinit", "hub"]
"""Whose cache: our own, under ``EVENTINIT_CACHE``, or huggingface_hub's, under ``HF_HOME``."""


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One file that was fetched completely.

    Attributes:
        name: Its path in the model's folder.
        path: Where it lies.
        size: The size that it must have.
        checksum: What its content must be; None when nothing is known of it but the size.
        verified: How it was compared with the store's when it was fetched.
        prefix: What the checksum begins with before the content, as git's ids do.
        mtime_ns: The time of its last change when it was recorded; None when nobody recorded it.
    """

    name: str
    path: Path
    size: int
    checksum: Checksum | None
    verified: str
    prefix: bytes = b""
    mtime_ns: int | None = None

    def is_there(self) -> bool:
        """Return whether the file is there in its full size."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One model of a cache; of the Hub's cache one commit of it.

    Attributes:
        root: Which cache it is in.
        source: Where it came from; the folder's name if nobody has recorded that.
        folder: The folder that is given to the engine.
        files: What was fetched completely.
        modes: The modes all of whose files are there.
        size: The bytes of the files that are there.
        partial_bytes: What unfinished downloads have left, and the next one need not fetch.
        fetched_at: When a fetch last brought something, in seconds since 1970; None when none was finished.
        used_at: When a fetch last began or was finished here, even one that found everything there.
    """

    root: Root
    source: str
    folder: Path
    files: tuple[CachedFile, ...]
    modes: tuple[FinishedMode, ...]
    size: int
    partial_bytes: int
    fetched_at: float | None
    used_at: float

    @property
    def verified(self) -> Mapping[str, int]:
        """How many files were verified in which way."""
        return Counter(file.verified for file in self.files)

    def is_called(self, word: str) -> bool:
        """Return whether a word is the model's source or path; a model of the Hub needs no commit."""
        if word == self.source or (self.root == "hub" and word == self.source.rpartition("@")[0]):
            return True
        return Path(word).expanduser().resolve() == self.folder.resolve()


def wants(mode: FinishedMode, name: str) -> bool:
    """Return whether a finished fetch was about this file."""
    return is_wanted(mode.mode, name, DownloadSettings(include=mode.include, exclude=mode.exclude))


def is_complete(mode: FinishedMode, sizes: Mapping[str, int]) -> bool:
    """Return whether all that a fetch had brought is among the files that are there, given with their sizes."""
    wanted = [size for name, size in sizes.items() if wants(mode, name)]
    return (len(wanted), sum(wanted)) == (mode.files, mode.bytes_total)
