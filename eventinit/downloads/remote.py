"""What a store of models is to the rest of the downloads: a list of files, and their bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from eventinit.downloads.line import Line

Algorithm = Literal["md5", "sha1", "sha256", "crc32c"]

CHECKSUM_WORTH_BYTES = 1024 * 1024
"""From this size on a file is worth a request of its own for its checksum."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that the store has of a file; ``value`` is lower-case hexadecimal."""

    algorithm: Algorithm
    value: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model as a store has it.

    Attributes:
        name: Its path relative to the model's folder, with ``/``.
        key: What the store calls it.
        size: Its size in bytes.
        version: What tells this content from a later one (etag or version id), or None when there is no such thing.
        checksum: The store's checksum of the content, if it has one.
    """

    name: str
    key: str
    size: int
    version: str | None
    checksum: Checksum | None = None


class Store(Protocol):
    """Where the files of one model are. Errors are typed ``DownloadError``s whose texts hold no credentials."""

    @property
    def source(self) -> str:
        """The URI for messages and results, without credentials, query and fragment."""
        ...

    @property
    def identity(self) -> str:
        """What tells this place from every other, such as endpoint and URI; it names the folder in the cache."""
        ...

    @property
    def reads_ranges(self) -> bool:
        """Whether a file can be read from its middle; else ``copy`` always begins at 0. Known after ``list``."""
        ...

    async def list(self) -> Sequence[RemoteFile]:
        """List every file of the model.

        Raises:
            DownloadError: There is no such model, access is refused, or the store does not answer.
        """
        ...

    async def checksum(self, file: RemoteFile) -> Checksum | None:
        """Return the checksum that the store has of this content, or None when it has none that counts.

        ``file.checksum`` where the listing told it; else it takes one request, so it is asked for files that are to be
        fetched, and worth it from ``CHECKSUM_WORTH_BYTES`` on. A store that does not answer this has none.
        """
        ...

    def copy(self, file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object], line: Line) -> None:
        """Hand the bytes from ``start`` up to ``end`` to ``write`` as they arrive; this blocks, in a worker thread.

        A piece holds until ``write`` returns. The caller counts them, and sets ``line.hurry`` when it wants no more of
        them: whatever is waited for ends at once then, with any error.

        Raises:
            ObjectChangedError: The store now has another content than ``file.version``.
            StoreUnavailableError: The connection failed, the store answered with an error of its own, or the bytes
                ended early; trying again may help. ``StoreSilentError``, one of these, when no byte came for the stall
                timeout.
            DownloadError: Any other refusal; trying again will not help.
        """
        ...
