"""A plain web server of the tests' own, with and without what a server may have: ranges, etags, a listing, lengths."""

import hashlib
import re
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_MODIFIED = formatdate(1_700_000_000, usegmt=True)


@dataclass
class PlainHttp:
    """A folder on a web server, and how the server behaves.

    Attributes:
        address: The folder's address.
        files: What is in the folder, by name.
        requests: Method and path, with the query, of each request so far.
        ranges: Whether a part of a file can be asked for.
        heads: Whether HEAD is known.
        dav: Whether the folder can be listed.
        etags: Whether files have an etag; ``modified`` whether they have a time of change.
        lengths: Whether sizes are told.
        query: What a request has to carry after the question mark, if anything.
        statuses: What is answered for a file instead of its content; ``absent`` for those that are not there.
        cut_after: After how many bytes of a body the connection ends; ``silent_after`` after how many nothing comes.
        headers: Further headers by file.
        redirects: Where files are instead, by name.
        connections: How many connections there have been.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    requests: list[str] = field(default_factory=list[str])
    ranges: bool = True
    heads: bool = True
    dav: bool = False
    etags: bool = True
    modified: bool = True
    lengths: bool = True
    query: str = ""
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    absent: int = 404
    cut_after: int | None = None
    silent_after: int | None = None
    headers: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    redirects: dict[str, str] = field(default_factory=dict[str, str])
    connections: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def etag(self, name: str) -> str:
        return f'"{hashlib.sha1(self.files[name]).hexdigest()}"'


@contextmanager
def plain_http(files: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Generator[PlainHttp]:
    """Serve files as a folder ``/models/tiny`` for as long as the block lasts, encrypted if there is a context."""
    state = PlainHttp(files=dict(files))
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        state.address = f"http{'s' * bool(tls)}://127.0.0.1:{server.server_port}/models/tiny"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.stopping.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: PlainHttp

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def setup(self) -> None:
        super().setup()
        self.state.connections += 1

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self.state.requests.append(f"HEAD {self.path}")
        if self.state.heads:
            self._file(with_body=False)
        else:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED)

    def do_PROPFIND(self) -> None:
        self.state.requests.append(f"PROPFIND {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_folder = urlsplit(self.path).path.rstrip("/") == "/models/tiny"
        if not (self.state.dav and is_folder):
            self._refuse(HTTPStatus.NOT_FOUND if self.state.dav else HTTPStatus.NOT_IMPLEMENTED)
            return
        body = self._multistatus().encode()
        self.send_response(HTTPStatus.MULTI_STATUS)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> None:
        self.state.requests.append(f"GET {self.path}")
        with suppress(ConnectionError):
            self._file(with_body=True)

    def _file(self, *, with_body: bool) -> None:
        state, parts = self.state, urlsplit(self.path)
        name = unquote(parts.path).removeprefix("/models/tiny/")
        if state.query and parts.query != state.query:
            self._refuse(HTTPStatus.FORBIDDEN)
        elif name in state.redirects:
            self._redirect(state.redirects[name])
        elif name in state.statuses or name not in state.files:
            self._refuse(state.statuses.get(name, state.absent))
        elif self.headers.get("If-Match") not in {None, state.etag(name)}:
            self._refuse(HTTPStatus.PRECONDITION_FAILED)
        else:
            self._content(name, with_body=with_body)

    def _content(self, name: str, *, with_body: bool) -> None:
        state, content = self.state, self.state.files[name]
        wanted = _RANGE.fullmatch(self.headers.get("Range", "")) if state.ranges else None
        start, end = 0, len(content)
        if wanted:
            start, end = int(wanted[1]), min(int(wanted[2] or end) + 1, end)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content) if state.lengths else '*'}")
        if state.lengths:
            self.send_header("Content-Length", str(end - start))
        else:
            self.close_connection = True
            self.send_header("Connection", "close")
        if state.etags:
            self.send_header("ETag", state.etag(name))
        if state.modified:
            self.send_header("Last-Modified", _MODIFIED)
        for header, value in state.headers.get(name, {}).items():
            self.send_header(header, value)
        self.end_headers()
        if with_body:
            self._body(content[start:end])

    def _body(self, body: bytes) -> None:
        state = self.state
        limit = next((n for n in (state.cut_after, state.silent_after) if n is not None and n < len(body)), None)
        self.wfile.write(body[:limit])
        if limit is None:
            return
        self.wfile.flush()
        self.close_connection = True
        if state.silent_after is not None:
            state.stopping.wait(30)

    def _redirect(self, address: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: int) -> None:
        body = b"" if self.command == "HEAD" else b"<html>no</html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _multistatus(self) -> str:
        responses = "".join(
            f"<D:response><D:href>{escape(quote(f'/models/tiny/{name}'))}</D:href><D:propstat><D:prop>"
            f"<D:getcontentlength>{len(content)}</D:getcontentlength><D:getetag>{self.state.etag(name)}</D:getetag>"
            f"<D:getlastmodified>{_MODIFIED}</D:getlastmodified><D:resourcetype/></D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            for name, content in self.state.files.items()
        )
        return f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{responses}</D:multistatus>'
