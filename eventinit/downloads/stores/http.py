"""Folders on plain web servers."""

import base64
import json
import logging
import re
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast, final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import anyio
import obstore
from obstore.store import HTTPStore

from eventinit.downloads.file_set import TOKENIZER_PATTERNS
from eventinit.downloads.remote import Checksum, RemoteFile
from eventinit.downloads.stores.errors import (
    Place,
    cut,
    missing,
    refusal,
    silence,
    store_errors,
    unexpected,
    unreachable,
)
from eventinit.downloads.stores.object_store import ObjectStore, bare, list_objects, without_folder_markers
from eventinit.downloads.stores.probe import Answer, Probe
from eventinit.errors import ConfigError, DownloadError, StoreUnavailableError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

INDEX = "model.safetensors.index.json"
KNOWN_NAMES = (
    *(pattern for pattern in TOKENIZER_PATTERNS if "*" not in pattern),
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors",
    "consolidated.safetensors",
)
"""What is asked for where a server has no listing."""

_INDEX_BYTES = 64 * 1024 * 1024
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_MODIFIED = "modified "
_CHECKSUM_HEADERS = (("sha256", "x-checksum-sha256"), ("sha1", "x-checksum-sha1"), ("md5", "x-checksum-md5"))
_DIGEST = re.compile(r"\bsha-256=:?([A-Za-z0-9+/]{43}=):?", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+")


@final
class HttpModels(ObjectStore):
    """``https://host/path/``; a query goes with each request and is never shown.

    A server with WebDAV is listed. Elsewhere the shards are those that the index of the weights names, and the other
    files those of ``KNOWN_NAMES`` that are there.
    """

    def __init__(self, uri: str, settings: DownloadSettings) -> None:
        parts = urlsplit(uri)
        if not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ConfigError("model_source", ["a web address is https://host/path/, with no user and no fragment"])
        path = parts.path.strip("/")
        self._server = parts._replace(path="")
        place = Place(
            f"{parts.scheme}://{parts.netloc}/{path}".rstrip("/"),
            endpoint=f"{parts.scheme}://{parts.netloc}",
            holder=f"the folder /{path}",
            access="let anyone who has the address read it, or put a signed query into model_source",
            setting="the network to it",
            region=None,
            stall_timeout_s=settings.stall_timeout_s,
        )
        self._reads_ranges = True
        super().__init__(place, unquote(path), settings)

    @property
    def reads_ranges(self) -> bool:
        """Whether the server sent one byte when it was asked for one; known after ``list``."""
        return self._reads_ranges

    async def _list(self) -> Sequence[RemoteFile]:
        """List the folder, or find the files of the model without a listing."""
        async with self._probe() as probe:
            files = await self._listed() or await self._found(probe)
            largest = max(files, key=lambda file: file.size)
            if largest.size:
                answer = await probe.first_byte(self._url(largest.key))
                self._reads_ranges = answer.status == HTTPStatus.PARTIAL_CONTENT
        return files

    async def _listed(self) -> Sequence[RemoteFile]:
        """Return what WebDAV lists, or nothing: a server that refuses to list may still have the files.

        Raises:
            StoreUnavailableError: It may list them when asked again. To go on without would be to take the files that
                have no usual name for files that are gone.
        """
        try:
            with store_errors(self._place):
                found = [self._file(meta) async for meta in list_objects(self._client, self._prefix or None)]
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a server makes of a method that it does not know
            log_event(logging.DEBUG, "no_listing", source=self.source, problem=type(error).__name__)
            return []
        # What lies elsewhere has been linked to: a listing of a folder is what is in it.
        return without_folder_markers([file for file in found if file.key == self._key(file.name)])

    async def _found(self, probe: Probe) -> Sequence[RemoteFile]:
        """Ask for the names that a model may have, and for one that nobody has: what is said of it means absence."""
        index = await probe.content(self._url(self._key(INDEX)), _INDEX_BYTES)
        shards = self._shards(index)
        nonsense = f"no-such-file-{secrets.token_hex(8)}"
        answers = await self._heads(probe, {INDEX, *KNOWN_NAMES, *shards, nonsense})
        absent = answers.pop(nonsense)
        if absent.has_content:
            raise DownloadError(
                self.source,
                f"{self._place.endpoint} answers for files that do not exist, so nobody can tell which do;"
                " check that model_source is the folder with the model's config.json",
            )
        files = [self._answered(name, answer) for name, answer in answers.items() if answer.has_content]
        needed = {*shards} if files else {"config.json"}
        for name, answer in answers.items():
            is_absent = answer.status in _ABSENT or answer.status == absent.status
            if not answer.has_content and (name in needed or not is_absent):
                raise self._missing(name, answer)
        return files

    async def _heads(self, probe: Probe, names: Iterable[str]) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}

        async def ask(name: str) -> None:
            answers[name] = await probe.head(self._url(self._key(name)))

        try:
            async with anyio.create_task_group() as requests:
                for name in sorted(names):
                    requests.start_soon(ask, name)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return answers

    def _missing(self, name: str, answer: Answer) -> DownloadError:
        place, what = self._place, f"the file {name!r}"
        if answer.status in _REFUSED:
            return refusal(place, what, str(answer.status))
        if answer.status in _ABSENT:
            return missing(place, what)
        return unexpected(place, what, str(answer.status))

    def _shards(self, index: Answer) -> Sequence[str]:
        if not index.has_content:
            return []
        try:
            weights: Any = json.loads(index.body)["weight_map"]
            return sorted({str(name) for name in cast("Mapping[str, str]", weights).values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"{INDEX} is no index of safetensors ({type(error).__name__}); check the file on the server"
            raise DownloadError(self.source, problem) from error

    def _answered(self, name: str, answer: Answer) -> RemoteFile:
        if answer.size is None:
            raise DownloadError(
                self.source,
                f"{self._place.endpoint} does not tell the size of {name!r}, so nobody could tell when it is complete;"
                " let the server send Content-Length",
            )
        version = self._version_told(answer.headers)
        return RemoteFile(name, self._key(name), answer.size, version, self._checksum_in(answer.headers))

    @asynccontextmanager
    async def _probe(self) -> AsyncGenerator[Probe]:
        import httpx2

        async with Probe(self._stall_timeout_s) as probe:
            try:
                yield probe
            except httpx2.ConnectError as error:
                raise unreachable(self._place, str(error)) from error
            except httpx2.TimeoutException as error:
                raise silence(self._place, self._place.holder) from error
            except httpx2.HTTPError as error:
                raise cut(self._place, self._place.holder) from error

    def _open(self, options: "ClientConfig", retries: "RetryConfig") -> HTTPStore:
        return HTTPStore(urlunsplit(self._server), client_options=options, retry_config=retries)

    async def _require_access(self) -> None:
        """Return at once: an address is all that there is."""

    @property
    def _signs_here(self) -> bool:
        return True

    def _address(self, key: str) -> str | None:
        return self._url(key)

    def _url(self, key: str) -> str:
        return urlunsplit(self._server._replace(path=f"/{quote(key)}"))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}".removeprefix("/")

    def _version(self, meta: "ObjectMeta") -> str | None:
        return _version(meta["e_tag"], meta["last_modified"])

    def _version_told(self, headers: Mapping[str, str]) -> str | None:
        modified = headers.get("last-modified")
        return _version(headers.get("etag"), parsedate_to_datetime(modified) if modified else None)

    def _options(self, file: RemoteFile, start: int, end: int) -> "obstore.GetOptions":
        options: obstore.GetOptions = {}
        # A weak etag never matches, by the definition of If-Match; it is compared with the one in the answer.
        if file.version and not file.version.startswith((_MODIFIED, "W/")):
            options["if_match"] = f'"{bare(file.version)}"'
        if self._reads_ranges:
            options["range"] = (start, end)
        return options

    def _checksum_in(self, headers: Mapping[str, str]) -> Checksum | None:
        """Take what the server says of the whole file: a digest, or what repositories of artifacts send."""
        for algorithm, header in _CHECKSUM_HEADERS:
            value = headers.get(header, "").lower()
            if _HEX.fullmatch(value):
                return Checksum(cast("Any", algorithm), value)
        if digest := _DIGEST.search(headers.get("repr-digest", "") or headers.get("digest", "")):
            return Checksum("sha256", base64.b64decode(digest[1]).hex())
        return None


def _version(etag: str | None, modified: datetime | None) -> str | None:
    """Return the etag, else the time of the last change: to the second, but the size is compared as well."""
    if etag or modified is None:
        return etag
    stamp = modified.astimezone(UTC).replace(microsecond=0)
    return f"{_MODIFIED}{stamp.isoformat()}" if stamp.timestamp() else None
