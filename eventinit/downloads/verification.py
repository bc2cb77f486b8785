"""Whether a file is what the store says it is, and whether its weights can be read."""

import hashlib
import importlib
import importlib.util
import json
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol, final

from eventinit.downloads.remote import Algorithm, Checksum

Verified = Literal["md5", "sha1", "sha256", "crc32c", "size only"]
"""How a file was compared with the store's: by which checksum, or by its size alone."""

_CHUNK = 1024 * 1024
_LENGTH = struct.Struct("<Q")
_LARGEST_HEADER = 100_000_000  # as the safetensors library has it


class _Hasher(Protocol):
    def update(self, data: Any, /) -> object: ...

    def hexdigest(self) -> str: ...


def can_check(algorithm: Algorithm) -> bool:
    """Return whether this checksum can be computed here: crc32c needs the package ``google-crc32c``."""
    return algorithm != "crc32c" or importlib.util.find_spec("google_crc32c") is not None


def digest(pieces: Iterable[Any], algorithm: Algorithm) -> Checksum:
    """Return the checksum of bytes."""
    hasher = _hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return Checksum(algorithm, hasher.hexdigest())


def digest_of_file(path: Path, algorithm: Algorithm, hurry: threading.Event) -> Checksum:
    """Return the checksum of a file; InterruptedError when ``hurry`` is set meanwhile."""
    return digest(pieces_of(path, hurry), algorithm)


@final
class RunningDigest:
    """The checksum of a file that is still growing: what has come from its beginning on is hashed meanwhile."""

    def __init__(self, path: Path, algorithm: Algorithm) -> None:
        self._path = path
        self._algorithm: Algorithm = algorithm
        self._hasher = _hasher(algorithm)
        self._at = 0
        self._lock = threading.Lock()

    def follow(self, beginning: Callable[[], int], hurry: threading.Event) -> None:
        """Hash as many bytes as ``beginning`` says, until there are no more, unless another thread is at it already."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            end = 0
            while end < (there := beginning()):
                end = there
                self._hash(end, hurry)
        finally:
            self._lock.release()

    def finish(self, size: int, hurry: threading.Event) -> Checksum:
        """Return the checksum of the whole file; InterruptedError when ``hurry`` is set meanwhile."""
        with self._lock:
            self._hash(size, hurry)
        return Checksum(self._algorithm, self._hasher.hexdigest())

    def _hash(self, end: int, hurry: threading.Event) -> None:
        for piece in pieces_of(self._path, hurry, start=self._at, end=end):
            self._hasher.update(piece)
            self._at += piece.nbytes


def safetensors_problem(path: Path) -> str | None:
    """Return what is wrong with the header of a safetensors file, or None when its tensors cover the file exactly."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        if len(start) < _LENGTH.size:
            return f"{size} bytes, too few for a header"
        (length,) = _LENGTH.unpack(start)
        if length > min(_LARGEST_HEADER, size - _LENGTH.size):
            return f"a header of {length} bytes in a file of {size}"
        return _header_problem(file.read(length), size - _LENGTH.size - length)


def _header_problem(header: bytes, data_bytes: int) -> str | None:
    try:
        tensors: Any = json.loads(header)
        spans = sorted(_span(tensor) for name, tensor in tensors.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "a header that is no list of tensors"
    at = 0
    for begin, end in spans:
        if begin != at or end < begin:
            return f"tensors that leave a gap or overlap at byte {at} of the data"
        at = end
    return None if at == data_bytes else f"tensors of {at} bytes with {data_bytes} bytes of data"


def _span(tensor: dict[str, Any]) -> tuple[int, int]:
    begin, end = tensor["data_offsets"]
    if not isinstance(begin, int) or not isinstance(end, int):
        raise TypeError
    return begin, end


def pieces_of(
    path: Path, hurry: threading.Event | None = None, *, start: int = 0, end: int = sys.maxsize
) -> Iterator[memoryview]:
    """Yield the bytes of a file; each piece holds until the next one. InterruptedError when ``hurry`` is set."""
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while count := file.readinto(buffer[: end - start]):
            if hurry and hurry.is_set():
                raise InterruptedError
            yield buffer[:count]
            start += count


def _hasher(algorithm: Algorithm) -> _Hasher:
    return _Crc32c() if algorithm == "crc32c" else hashlib.new(algorithm, usedforsecurity=False)


class _Crc32c:
    def __init__(self) -> None:
        self._extend = importlib.import_module("google_crc32c").extend
        self._value = 0

    def update(self, data: Any) -> None:
        self._value = self._extend(self._value, bytes(data))  # it takes no other kind of buffer

    def hexdigest(self) -> str:
        return f"{self._value:08x}"
