"""Read what lies at a web address from the socket into a buffer, in a worker thread."""

import re
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from io import BufferedReader
from select import POLLIN, poll
from time import monotonic
from typing import Any, final
from urllib.parse import urljoin, urlsplit

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.interruption import Interruption
from eventinit.downloads.line import Line
from eventinit.downloads.remote import RemoteFile
from eventinit.downloads.stores.certificates import certificates
from eventinit.downloads.stores.errors import Place, answered, cut, silence, unreachable
from eventinit.errors import DownloadError, StoreUnavailableError

SLICE_BYTES = 512 * 1024
"""How much is read at once; what has come of a slice is lost when the connection ends within it."""

FLUSH_S = 1.0
REDIRECTS = 5
_RETRY_WAITS_S = (0.5, 1.0)
_CONNECT_TIMEOUT_S = 4.0
_LONGEST_ERROR = 16 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_REDIRECTED = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}


class _Lines(BufferedReader):
    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n"):
            raise RemoteDisconnected("the connection ended within a line")
        return line


class _Response(HTTPResponse):
    """An answer of which half a head is none: the client of the standard library would take it for all."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _Lines(self.fp.detach())


@final
class RangeReader:
    """Reads one file; ``accept`` raises for an answer that is of another content or has other bytes."""

    def __init__(self, place: Place, file: RemoteFile, line: Line, accept: Callable[[HTTPResponse], object]) -> None:
        self._place = place
        self._file = file
        self._what = f"the object {file.key!r}"
        self._line = line
        self._accept = accept

    def copy(self, address: str, headers: Mapping[str, str], count: int, write: Callable[[memoryview], object]) -> None:
        """Hand so many bytes of the answer to ``write``."""
        for _ in range(REDIRECTS + 1):
            target = self._copy(address, headers, count, write)
            if target is None:
                return
            address = target
        raise DownloadError(self._place.source, f"{self._place.endpoint} redirects {self._what} again and again")

    def _copy(
        self, address: str, headers: Mapping[str, str], count: int, write: Callable[[memoryview], object]
    ) -> str | None:
        """Hand on the bytes, or return the address at which they are instead."""
        parts = urlsplit(address)
        host = f"{parts.scheme}://{parts.netloc}"
        connection = self._idle(host) or self._connected(host)
        response: HTTPResponse | None = None
        try:
            # Shut down below TLS, so that what has come is still decrypted and then ends.
            with self._line.hurry.ending(partial(_shut_down, connection.sock)):
                with self._failures():
                    connection.request("GET", address.removeprefix(host), headers=headers)
                    response = connection.getresponse()
                if target := _redirected(response, address):
                    return target
                self._require_content(response)
                self._accept(response)
                self._pass_on(response, count, write)
        finally:
            if response and response.isclosed() and connection.sock:
                self._line.connections[host] = connection
            else:
                # An answer that ends with its connection has taken the socket over.
                if response:
                    response.close()
                connection.close()
        return None

    def _idle(self, host: str) -> HTTPConnection | None:
        """Return the open connection, unless there is something to read: its end, or more than the last answer was."""
        connection = self._line.connections.pop(host, None)
        if connection is None:
            return None
        poller = poll()
        poller.register(connection.sock, POLLIN)
        if poller.poll(0):
            connection.close()
            return None
        return connection

    def _connected(self, host: str) -> HTTPConnection:
        parts = urlsplit(host)
        if parts.scheme == "https":
            connection: HTTPConnection = HTTPSConnection(
                parts.hostname or "", parts.port, timeout=_CONNECT_TIMEOUT_S, context=certificates()
            )
        else:
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_CONNECT_TIMEOUT_S)
        connection.response_class = _Response
        try:
            connection.connect()
        except OSError as error:
            raise unreachable(self._place, str(error)) from error
        connection.sock.settimeout(self._place.stall_timeout_s)
        return connection

    def _require_content(self, response: HTTPResponse) -> None:
        if response.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return
        with self._failures():
            body = response.read(_LONGEST_ERROR).decode(errors="replace")
        wait = response.headers.get("Retry-After", "")
        raise answered(self._place, self._file, response.status, body, float(wait) if wait.isdecimal() else 0.0)

    def _pass_on(self, response: HTTPResponse, count: int, write: Callable[[memoryview], object]) -> None:
        """Fill the buffer and hand it on, again and again; what came before a failure is handed on first."""
        while count:
            view, have, failure = self._line.buffer[:count], 0, None
            due = monotonic() + FLUSH_S
            while have < len(view) and monotonic() < due and not failure:
                try:
                    with self._failures():
                        came = response.readinto(view[have : have + SLICE_BYTES])
                except DownloadError as error:
                    came, failure = 0, error
                else:
                    failure = None if came else cut(self._place, self._what)
                have += came
            if have:
                write(view[:have])
            if failure:
                raise failure
            count -= have

    @contextmanager
    def _failures(self) -> Generator[None]:
        """Raise what a connection may do in the block as a typed error."""
        try:
            yield
        except TimeoutError as error:
            raise silence(self._place, self._what) from error
        except (OSError, HTTPException) as error:
            raise cut(self._place, self._what) from error


def first_headers(place: Place, file: RemoteFile, address: str, hurry: Interruption) -> Mapping[str, str]:
    """Return the headers that come with an object's first byte; failures are tried again a few times."""
    found: dict[str, str] = {}
    line = Line(1, Bandwidth(None))
    line.hurry = hurry
    reader = RangeReader(place, file, line, lambda response: found.update(headers_of(response)))
    with closing(line):
        for wait_s in _RETRY_WAITS_S:
            with suppress(StoreUnavailableError):
                reader.copy(address, {"Range": "bytes=0-0"}, 1, len)
                return found
            hurry.wait(wait_s)
        reader.copy(address, {"Range": "bytes=0-0"}, 1, len)
    return found


def headers_of(response: HTTPResponse) -> dict[str, str]:
    """Return the headers of an answer by their names in lower case."""
    return {name.lower(): value for name, value in response.getheaders()}


def told_range(response: HTTPResponse) -> tuple[int | None, int | None]:
    """Return the size of the whole object and the first byte of what comes, as far as an answer tells them."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return response.length, 0
    told = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return (int(told[2]) if told and told[2] != "*" else None, int(told[1]) if told else None)


def _shut_down(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


def _redirected(response: HTTPResponse, address: str) -> str | None:
    """Return where an answer sends the request to; never from TLS to where anyone could read along."""
    location = response.headers.get("Location")
    if response.status not in _REDIRECTED or not location:
        return None
    target = urljoin(address, location)
    allowed = {"https"} if address.startswith("https:") else {"http", "https"}
    return target if urlsplit(target).scheme in allowed else None
