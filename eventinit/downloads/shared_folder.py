"""A model's folder from which other nodes are given the files, in chunks."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar, final

from eventinit.downloads.large_file import LEAST_RANGE_BYTES
from eventinit.downloads.manifest import HeldFile, read_manifest
from eventinit.downloads.peer_store import Offer
from eventinit.downloads.remote import RemoteFile
from eventinit.errors import ModelNotFoundError, ObjectChangedError

T = TypeVar("T")

LEAST_CHUNK_BYTES = 1024 * 1024
MOST_CHUNK_BYTES = LEAST_RANGE_BYTES
"""A range that a receiver fetches begins and ends where a chunk does, unless there is little room."""

WINDOW_CHUNKS = 8
"""How many chunks of the largest size are kept at least: receivers are rarely further apart than their own requests."""


@final
class SharedFolder(Generic[T]):
    """Gives the complete files of a folder in chunks, each of them put where receivers find it.

    The latest chunks are kept, up to ``budget_bytes``: receivers that go along together cause one read of each, and one
    that comes late another.
    """

    def __init__(self, folder: Path, put: Callable[[bytes], T], budget_bytes: int) -> None:
        self._folder = folder
        self._put = put
        self._budget_bytes = budget_bytes
        self._chunk_bytes = max(LEAST_CHUNK_BYTES, min(MOST_CHUNK_BYTES, budget_bytes // WINDOW_CHUNKS))
        self._entries = read_manifest(folder).files
        self._kept: dict[tuple[str, int], tuple[T, int]] = {}

    def offer(self) -> Offer:
        """Return all complete files as the store had them."""
        return Offer(tuple(map(_as_listed, self._entries.values())), self._chunk_bytes)

    def chunk(self, name: str, index: int) -> tuple[T, int]:
        """Return a chunk, as ``put`` returned it, and its CRC-32.

        Raises:
            ModelNotFoundError: There is no such file or chunk.
            ObjectChangedError: The file is not as it was recorded.
        """
        key = name, index
        if key not in self._kept:
            data = self._read(name, index)
            while self._kept and (len(self._kept) + 1) * self._chunk_bytes > self._budget_bytes:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._put(data), zlib.crc32(data)
        return self._kept[key]

    def _read(self, name: str, index: int) -> bytes:
        entry = self._entries.get(name)
        start = index * self._chunk_bytes
        if entry is None or not 0 <= start < entry.size:
            raise ModelNotFoundError(str(self._folder), f"there is no chunk {index} of {name!r} to share")
        with (self._folder / name).open("rb", buffering=0) as file:
            there = os.fstat(file.fileno())
            if (there.st_size, there.st_mtime_ns) != (entry.size, entry.mtime_ns):
                raise ObjectChangedError(str(self._folder), name)
            return os.pread(file.fileno(), self._chunk_bytes, start)


def _as_listed(entry: HeldFile) -> RemoteFile:
    # A checksum that only this node computed is none of the store's.
    checksum = None if entry.verified == "size only" else entry.checksum
    return RemoteFile(entry.name, entry.name, entry.size, entry.version, checksum)
