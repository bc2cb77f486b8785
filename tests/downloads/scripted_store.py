"""A store in memory which does what a test says: serves, stalls, cuts, flips, refuses, and counts."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from eventinit.downloads.line import Line
from eventinit.downloads.remote import Algorithm, Checksum, RemoteFile
from eventinit.errors import ObjectChangedError, StoreSilentError, StoreUnavailableError
from eventinit.ports import FetchProgress

Script = Callable[["Request"], "Fault | None"]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of ``copy``; ``number`` counts the calls for this file from 0."""

    name: str
    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request after so many bytes: an error, a flipped byte, or silence."""

    after: int = 0
    error: Exception | None = None
    flip: bool = False
    stall: bool = False
    end: bool = False


def cut(source: str = "memory://model", after: int = 0) -> Fault:
    return Fault(after, StoreUnavailableError(source, "the connection was cut"))


@dataclass
class ScriptedStore:
    """Serves ``files``; a test may replace one of them at any time.

    Attributes:
        script: Asked at each request.
        stall_timeout_s: After how much silence it gives up a request, as every store does.
        algorithm: Which checksums the store has.
        ledger: A file to which each served piece adds one byte per KiB, so that several processes can be counted.
    """

    files: Mapping[str, bytes]
    source: str = "memory://model"
    identity: str = "memory"
    reads_ranges: bool = True
    has_versions: bool = True
    version_prefix: str = ""
    algorithm: Algorithm | None = None
    script: Script = lambda _: None
    list_error: Exception | None = None
    piece_bytes: int = 64 * 1024
    pace_s: float = 0.0
    stall_timeout_s: float = 30.0
    ledger: Path | None = None
    served: int = 0
    requests: list[Request] = field(default_factory=list[Request])
    counts: Counter[str] = field(default_factory=Counter[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def list(self) -> Sequence[RemoteFile]:
        await anyio.lowlevel.checkpoint()
        if self.list_error:
            raise self.list_error
        return [self._describe(name) for name in self.files]

    async def checksum(self, file: RemoteFile) -> Checksum | None:
        return file.checksum

    def _describe(self, name: str) -> RemoteFile:
        content = self.files[name]
        version = self.version_prefix + hashlib.sha1(content).hexdigest() if self.has_versions else None
        value = hashlib.new(self.algorithm, content).hexdigest() if self.algorithm else ""
        checksum = Checksum(self.algorithm, value) if self.algorithm else None
        return RemoteFile(name, name, len(content), version, checksum)

    def copy(self, file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object], line: Line) -> None:
        with self._lock:
            request = Request(file.name, start, end, self.counts[file.name])
            self.counts[file.name] += 1
            self.requests.append(request)
            fault = self.script(request)
        content, sent = self.files[file.key], 0
        if self.has_versions and self._describe(file.name).version != file.version:
            raise ObjectChangedError(self.source, file.name)
        if not self.reads_ranges:
            assert start == 0
        while start + sent < end:
            if fault and sent >= fault.after:
                if fault.error:
                    raise fault.error
                if fault.stall:
                    line.hurry.wait(self.stall_timeout_s)
                    raise StoreSilentError(self.source, f"sent nothing of {file.name}", self.stall_timeout_s)
                if fault.end:
                    return
            stop = min(end, start + sent + self.piece_bytes)
            piece = bytearray(content[start + sent : stop])
            if fault and fault.flip and sent <= fault.after < sent + len(piece):
                piece[fault.after - sent] ^= 1
            if line.hurry.wait(self.pace_s):
                raise InterruptedError
            self._count(len(piece))
            sent += len(piece)
            write(memoryview(piece))

    def _count(self, count: int) -> None:
        with self._lock:
            self.served += count
        if self.ledger:
            with self.ledger.open("ab", buffering=0) as ledger:
                ledger.write(b"%d\n" % count)

    def served_by_all(self) -> int:
        """Return how many bytes all processes with this ledger have been served."""
        assert self.ledger
        return sum(map(int, self.ledger.read_text().split())) if self.ledger.exists() else 0


def content(seed: int, size: int) -> bytes:
    """Return bytes that are the same in every process."""
    block = hashlib.shake_256(str(seed).encode()).digest(min(size, 1024 * 1024)) if size else b""
    return (block * (size // max(len(block), 1) + 1))[:size]


def weights(seed: int, size: int) -> bytes:
    """Return a safetensors file of one tensor with so many bytes."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    return len(header).to_bytes(8, "little") + header + content(seed, size)


MIB = 1024 * 1024
MODEL = {
    "config.json": b"{}",
    "empty.txt": b"",
    "nested/deep/notes.txt": content(1, 5000),
    "medium.bin": content(2, 3 * MIB + 11),
    "model.safetensors": weights(3, 40 * MIB + 7),
}


def ignore(_: FetchProgress) -> None:
    """Report progress to nobody."""
