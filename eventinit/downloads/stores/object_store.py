"""What all stores that obstore reads share: listing, ranges as streams, and a file's checksum."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from functools import cached_property, partial
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import obstore

from eventinit.downloads.interruption import Interruption
from eventinit.downloads.line import Line
from eventinit.downloads.remote import CHECKSUM_WORTH_BYTES, Checksum, RemoteFile
from eventinit.downloads.stores.errors import Place, cut, store_errors, without_ranges
from eventinit.downloads.stores.own_loop import run_on_own_loop
from eventinit.downloads.stores.probe import Probe
from eventinit.downloads.stores.range_reader import RangeReader, first_headers, headers_of, told_range
from eventinit.errors import AccessDeniedError, ModelNotFoundError, ObjectChangedError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings
from eventinit.threads import run_in_thread

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Client

PIECE_BYTES = 256 * 1024
"""How much of a stream is handed on at once; what has come of a piece is lost when the connection ends within it."""

# How much of a listing is handed to Python at once: the interpreter waits meanwhile.
_LISTED = 100
_SIGNATURE_LASTS = timedelta(minutes=5)
# What the environment may tell obstore's connections beyond the address.
_CLIENT_SETTINGS = tuple(
    f"{kind}_{setting}"
    for kind in ("AWS", "AZURE", "GOOGLE")
    for setting in ("PROXY_URL", "ALLOW_INVALID_CERTIFICATES")
)
_CONNECT_TIMEOUT = timedelta(seconds=4)
# One request may bring a whole model from a server without ranges; a stalled one ends by the read timeout.
_REQUEST_TIMEOUT = timedelta(days=7)
# Who lists and reads tries again by itself, with the bytes that it has and perhaps elsewhere; obstore would go on in a
# body that was cut without saying so, and would multiply the stall timeout.
_RETRIES: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


class ObjectStore(ABC):
    """The objects under a prefix, read through obstore; a subclass knows its kind of store."""

    def __init__(self, place: Place, prefix: str, settings: DownloadSettings) -> None:
        self._place = place
        self._prefix = prefix
        self._stall_timeout_s = settings.stall_timeout_s
        self._is_direct: bool | None = None

    @property
    def source(self) -> str:
        """The URI for messages and results."""
        return self._place.source

    @property
    def identity(self) -> str:
        """The endpoint and the URI."""
        return f"{self._place.endpoint}\n{self._place.source}"

    @property
    def reads_ranges(self) -> bool:
        """Whether a file can be read from its middle."""
        return True

    async def list(self) -> Sequence[RemoteFile]:
        """List every file of the model, off the program's event loop: opening a client and long lists take a while."""
        hurry = Interruption()
        return await run_in_thread(
            partial(run_on_own_loop, self._list, hurry), name=f"listing {self.source}", hurry=hurry
        )

    async def _list(self) -> Sequence[RemoteFile]:
        await self._require_access()
        with store_errors(self._place):
            found = [self._file(meta) async for meta in list_objects(self._client, self._prefix or None)]
        files = without_folder_markers(found)
        if not files:
            where = f"no objects under {self._prefix!r}" if self._prefix else "no objects"
            raise ModelNotFoundError(self.source, f"{self._place.holder} has {where}; check model_source")
        return files

    async def checksum(self, file: RemoteFile) -> Checksum | None:
        """Ask for the headers of a large file, and return the checksum that they tell of just this content."""
        if file.checksum or file.size < CHECKSUM_WORTH_BYTES:
            return file.checksum
        hurry = Interruption()
        ask = partial(self._headers, file, hurry)
        try:
            headers = await run_in_thread(ask, name=f"asking for a checksum of {file.name}", hurry=hurry)
        except Exception as error:  # noqa: BLE001 - signing alone fails in many ways; the file is fetched all the same
            log_event(logging.DEBUG, "checksum_unknown", source=self.source, problem=type(error).__name__)
            return None
        if headers is None or bare(headers.get("etag")) != bare(file.version):
            return None
        return self._checksum_in(headers)

    def copy(self, file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object], line: Line) -> None:
        """Hand on the bytes from ``start`` up to ``end``: from a socket if there is an address, else by obstore."""
        if start >= end:
            return
        with store_errors(self._place, file):
            address = self._direct_address(file.key)
        if address is not None:
            reader = RangeReader(self._place, file, line, partial(self._require_told, file, start))
            try:
                reader.copy(address, self._request(file, start, end), end - start, write)
            except AccessDeniedError:
                # A policy may refuse signed addresses where it allows signed requests.
                self._is_direct = False
            else:
                return
        run_on_own_loop(lambda: self._copy_by_client(file, start, end, write), line.hurry)

    def _direct_address(self, key: str) -> str | None:
        """Return an address that needs nothing but a socket."""
        if self._is_direct is None:
            address = self._address(key) if self._signs_here else None
            self._is_direct = address is not None and not _goes_through_proxy(address)
        return self._address(key) if self._is_direct else None

    def _request(self, file: RemoteFile, start: int, end: int) -> Mapping[str, str]:
        options = self._options(file, start, end)
        headers = {"User-Agent": "eventinit"}
        if "range" in options:
            headers["Range"] = f"bytes={start}-{end - 1}"
        if "if_match" in options:
            headers["If-Match"] = str(options["if_match"])
        return headers

    def _require_told(self, file: RemoteFile, start: int, response: HTTPResponse) -> None:
        if self.reads_ranges and response.status != HTTPStatus.PARTIAL_CONTENT:
            raise without_ranges(self._place, f"the object {file.key!r}")
        size, first = told_range(response)
        is_same = _is_same(self._version_told(headers_of(response)), file.version)
        if not is_same or size not in {None, file.size} or first not in {None, start}:
            raise ObjectChangedError(self.source, file.name)

    async def _copy_by_client(
        self, file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object]
    ) -> None:
        async with aclosing(self._pieces(file, start, end)) as pieces:
            async for piece in pieces:
                write(piece)

    async def _pieces(self, file: RemoteFile, start: int, end: int) -> AsyncGenerator[memoryview]:
        options = self._options(file, start, end)
        missing = end - start
        with store_errors(self._place, file):
            result = await obstore.get_async(self._client, file.key, options=options)
            self._require_same(file, result.meta)
            async for piece in result.stream(min_chunk_size=PIECE_BYTES):
                yield memoryview(piece)[:missing]
                missing -= min(len(piece), missing)
                if not missing:
                    return
        raise cut(self._place, f"the object {file.key!r}")

    @abstractmethod
    def _open(self, options: "ClientConfig", retries: "RetryConfig") -> "Client":
        """Return a client for the bucket as the environment describes it."""

    @abstractmethod
    async def _require_access(self) -> None:
        """Return when requests can be signed, or need not be; raise ``AccessDeniedError`` else."""

    @property
    @abstractmethod
    def _signs_here(self) -> bool:
        """Whether an address costs no request."""

    @abstractmethod
    def _address(self, key: str) -> str | None:
        """Return an address at which anyone may GET the object for some minutes, or None; this may block."""

    @abstractmethod
    def _checksum_in(self, headers: Mapping[str, str]) -> Checksum | None:
        """Return the checksum of a whole object that the headers of its first byte tell."""

    def _version(self, meta: "ObjectMeta") -> str | None:
        return meta["e_tag"]

    def _version_told(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("etag")

    def _options(self, file: RemoteFile, start: int, end: int) -> "obstore.GetOptions":
        options: obstore.GetOptions = {"range": (start, end)}
        if file.version:
            options["if_match"] = f'"{bare(file.version)}"'
        return options

    def _file(self, meta: "ObjectMeta") -> RemoteFile:
        key = meta["path"]
        name = key.removeprefix(self._prefix).removeprefix("/")
        return RemoteFile(name, key, meta["size"], self._version(meta))

    def _require_same(self, file: RemoteFile, meta: "ObjectMeta") -> None:
        # Not every store honours If-Match, and a shorter object is answered with what there is.
        if meta["size"] != file.size or not _is_same(self._version(meta), file.version):
            raise ObjectChangedError(self.source, file.name)

    def _headers(self, file: RemoteFile, hurry: Interruption) -> Mapping[str, str] | None:
        """Return the headers of a request for the object's first byte: signed HEADs are refused by some stores."""
        address = self._direct_address(file.key)
        if address is not None:
            return first_headers(self._place, file, address, hurry)
        address = self._address(file.key)
        return run_on_own_loop(lambda: self._probed(address), hurry) if address else None

    async def _probed(self, address: str) -> Mapping[str, str] | None:
        async with Probe(self._stall_timeout_s) as probe:
            answer = await probe.first_byte(address)
        return answer.headers if answer.has_content else None

    def _signed(self, key: str) -> str:
        """Return an address that obstore has signed; some stores are asked for the signature."""
        client: Any = self._client
        signed: str = obstore.sign(client, "GET", key, _SIGNATURE_LASTS)
        return signed

    @cached_property
    def _client(self) -> "Client":
        return self._open(client_options(self._stall_timeout_s, self._place.endpoint), _RETRIES)


def client_options(stall_timeout_s: float, endpoint: str) -> "ClientConfig":
    """Return the bounds on how long a connection may be silent."""
    options: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": timedelta(seconds=stall_timeout_s),
        "timeout": _REQUEST_TIMEOUT,
    }
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    return options


async def list_objects(client: "Client", prefix: str | None) -> "AsyncIterator[ObjectMeta]":
    """Yield everything under a prefix, however many requests that takes."""
    untyped: Any = obstore  # its stubs need arro3 for listings as Arrow tables
    async for page in untyped.list(client, prefix, chunk_size=_LISTED):
        for meta in page:
            yield meta


def without_folder_markers(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Return the files without the empty objects that stand for a folder: the prefix itself, and what others lie in."""
    empty = {file.name for file in files if not file.size}
    folders = {parent for file in files for parent in _parents(file.name) if parent in empty} if empty else set[str]()
    return [file for file in files if file.name and file.name not in folders]


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _goes_through_proxy(address: str) -> bool:
    parts = urlsplit(address)
    if any(map(os.environ.get, _CLIENT_SETTINGS)):
        return True
    return parts.scheme in getproxies() and not proxy_bypass(parts.netloc)


def _is_same(told: str | None, listed: str | None) -> bool:
    return not listed or bare(told) == bare(listed)


def bare(etag: str | None) -> str | None:
    """Return an etag without its quotes, which listings leave out at some stores."""
    return etag.strip('"') if etag else None
