"""The files of a store, received from another node that has them already."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, final

from eventinit.downloads.interruption import Interruption
from eventinit.downloads.line import Line
from eventinit.downloads.remote import Checksum, RemoteFile, Store
from eventinit.errors import StoreSilentError, StoreUnavailableError
from eventinit.ports import DownloadSettings
from eventinit.threads import run_in_thread

T = TypeVar("T")
F = TypeVar("F")

_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """The files that a peer has complete, and how many bytes it gives at a time."""

    files: tuple[RemoteFile, ...]
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """So many bytes of a file, and their CRC-32 where they were read."""

    data: memoryview
    crc: int


class Wait(Protocol):
    """Returns what a future comes to; raises when that takes too long or nobody needs it any more."""

    def __call__(self, future: "Future[F]", /) -> F:
        """Block until the future is done."""
        ...


class Peer(Protocol):
    """A node that shares the files of a model. Both questions block, in worker threads, by the ``wait`` they get."""

    def offer(self, wait: Wait) -> Offer:
        """Return what it shares."""
        ...

    def chunk(self, name: str, index: int, wait: Wait) -> Chunk:
        """Return the chunk of a file with this number, counted from 0."""
        ...


@final
class PeerStore:
    """What a peer has of a store.

    Source, identity and versions are the store's own: a fetch goes on with what came from the store, and the store with
    what came from here.
    """

    def __init__(self, store: Store, peer: Peer, settings: DownloadSettings) -> None:
        self.source = store.source
        self.identity = store.identity
        self.reads_ranges = True
        self._peer = peer
        self._stall_timeout_s = settings.stall_timeout_s
        self._chunk_bytes = 1

    async def list(self) -> Sequence[RemoteFile]:
        """Return the files that the peer has complete, with all that it knows of each."""
        hurry = Interruption()
        ask = partial(self._ask, self._peer.offer, "the list of files", hurry)
        offer = await run_in_thread(ask, name="asking a peer", hurry=hurry)
        self._chunk_bytes = offer.chunk_bytes
        return offer.files

    async def checksum(self, file: RemoteFile) -> Checksum | None:
        """Return what the peer's file was verified by."""
        return file.checksum

    def copy(self, file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object], line: Line) -> None:
        """Hand on the bytes of one chunk after another, each checked before."""
        at = start
        while at < end:
            index, skipped = divmod(at, self._chunk_bytes)
            data = self._chunk(file, index, line.hurry)[skipped:][: end - at]
            for piece in _pieces(data):
                write(piece)
            at += data.nbytes

    def _chunk(self, file: RemoteFile, index: int, hurry: Interruption) -> memoryview:
        chunk = self._ask(partial(self._peer.chunk, file.name, index), file.name, hurry)
        expected = min(self._chunk_bytes, file.size - index * self._chunk_bytes)
        if chunk.data.nbytes != expected or zlib.crc32(chunk.data) != chunk.crc:
            raise StoreUnavailableError(self.source, f"chunk {index} of {file.name} came damaged from a peer")
        return chunk.data

    def _ask(self, question: Callable[[Wait], T], what: str, hurry: Interruption) -> T:
        waited_s = self._stall_timeout_s

        def wait(future: "Future[F]") -> F:
            with hurry.ending(future.cancel):
                return future.result(waited_s)

        try:
            return question(wait)
        except InterruptedError:
            raise
        except TimeoutError as error:
            problem = f"a peer sent nothing of {what} for {waited_s:g} s"
            raise StoreSilentError(self.source, problem, waited_s) from error
        except Exception as error:
            # Whatever it is, the store may still have the file.
            reason = str(error).partition("\n")[0]
            problem = f"a peer cannot give {what}: {type(error).__name__}: {reason}"
            raise StoreUnavailableError(self.source, problem) from error


def _pieces(data: memoryview) -> Iterator[memoryview]:
    return (data[at : at + _PIECE_BYTES] for at in range(0, data.nbytes, _PIECE_BYTES))
