"""A proxy that passes requests on to a real server and misbehaves as a test says: it cuts, stalls, lies and damages."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

LISTING = "(listing)"
_CHUNK = 64 * 1024
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with an answer.

    Attributes:
        kind: ``cut`` ends the connection and ``reset`` tears it down, ``stall`` sends nothing more, each after ``at``
            bytes of the whole answer; ``trickle`` sends ``at`` bytes at a time with pauses; ``status`` answers with the
            status ``at`` instead; ``announce`` adds ``at`` to Content-Length, ``surplus`` sends so many bytes more than
            there are; ``flip`` changes the byte ``at`` of the file; ``call`` only does what ``action`` says.
        at: See above; None for a cut is a random byte.
        headers: What goes with a status.
        action: What is done just before the request is passed on.
    """

    kind: Literal["cut", "reset", "stall", "trickle", "status", "announce", "surplus", "flip", "call"]
    at: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    action: Callable[[], object] = lambda: None


@dataclass(slots=True)
class _Rule:
    fault: Fault
    name: str
    skip: int
    left: float


@dataclass
class Proxy:
    """The proxy as the tests see it.

    Attributes:
        address: Where it listens.
        sent: How many bytes of each file it has sent, whether they arrived or not.
        pause_s: The pause of a trickle.
    """

    address: str
    sent: Counter[str] = field(default_factory=Counter[str])
    pause_s: float = 0.1
    rules: list[_Rule] = field(default_factory=list[_Rule])
    draw: random.Random = field(default_factory=random.Random)
    lock: threading.Lock = field(default_factory=threading.Lock)
    healed: threading.Event = field(default_factory=threading.Event)

    def misbehave(self, fault: Fault, name: str, *, times: float = float("inf"), skip: int = 0) -> None:
        """Have the first ``times`` answers with content of a file, after ``skip`` good ones, go wrong."""
        self.rules.append(_Rule(fault, name, skip, times))

    def heal(self) -> None:
        """Behave from now on."""
        with self.lock:
            self.rules.clear()
        self.healed.set()

    def next_fault(self, name: str, start: int, end: float) -> Fault | None:
        """Return what is to go wrong with an answer that holds these bytes of a file, and count it."""
        with self.lock:
            for rule in self.rules:
                is_out = rule.fault.kind == "flip" and not start <= (rule.fault.at or 0) < end
                if rule.name != name or rule.left < 1 or is_out:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.left -= 1
                return rule.fault
        return None


@contextmanager
def misbehaving_proxy(upstream: str, seed: int = 0) -> Generator[Proxy]:
    """Stand before the server at ``upstream`` for as long as the block lasts.

    Requests go on as they are, with the Host that the client has signed.
    """
    parts = urlsplit(upstream)
    state = Proxy("", draw=random.Random(seed))
    handler = type("Handler", (_Handler,), {"state": state, "upstream": (parts.hostname, parts.port)})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.heal()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def shutdown_request(self, request: Any) -> None:
        """Close only: an orderly end would come before a reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that connections end is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Proxy
    upstream: tuple[str, int]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def setup(self) -> None:
        super().setup()
        # What was sent shall be about what has arrived.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)

    def do_GET(self) -> None:
        self._relay()

    def do_HEAD(self) -> None:
        self._relay()

    def do_PROPFIND(self) -> None:
        self._relay()

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name, start, end = self._wanted()
        fault = self.state.next_fault(name, start, end) if name else None
        if fault and fault.kind == "status":
            return self._refuse(fault)
        if fault:
            fault.action()
        connection = HTTPConnection(*self.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for header, value in self.headers.items():
                connection.putheader(header, value)
            connection.endheaders(body or None)
            self._answer(connection.getresponse(), name, start, fault)
        finally:
            connection.close()
        return None

    def _wanted(self) -> tuple[str, int, float]:
        """Return which file's bytes are asked for, if any; the first byte alone is asked for its headers."""
        parts, wanted = urlsplit(self.path), self.headers.get("Range", "")
        if self.command == "PROPFIND" or "list-type=2" in parts.query:
            return LISTING, 0, 0
        if self.command == "HEAD" or wanted == "bytes=0-0":
            return "", 0, 0
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return unquote(parts.path).rpartition("/")[2], int(first or 0), int(last) + 1 if last else float("inf")

    def _answer(self, response: HTTPResponse, name: str, start: int, fault: Fault | None) -> None:
        kind, at = (fault.kind, fault.at) if fault else ("", 0)
        announced = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        whole = b""
        if announced is None and self.command != "HEAD":
            whole = response.read()
            announced = len(whole)
        length = announced or 0
        extra = max(at or 0, -length) if kind in {"announce", "surplus"} else 0
        head = self._head(response, length + extra)
        # Whoever is told of fewer bytes than come would take the rest for the next answer.
        stop = len(head) + length + min(extra, 0)
        if kind in {"cut", "reset", "stall"}:
            stop = self.state.draw.randrange(stop) if at is None else min(at, stop)
        self._send(head[:stop], "")
        rest = stop - len(head)
        step = (at or 1) if kind == "trickle" else _CHUNK
        position = start
        while rest > 0 and self.command != "HEAD":
            piece = whole[:rest] if whole else response.read(min(step, rest))
            if not piece:
                break
            if kind == "flip" and position <= (at or 0) < position + len(piece):
                piece = _flipped(piece, (at or 0) - position)
            self._send(piece, name)
            position += len(piece)
            rest -= len(piece)
            if kind == "trickle":
                time.sleep(self.state.pause_s)
        self._end(kind, extra)

    def _end(self, kind: str, extra: int) -> None:
        if kind == "surplus":
            self._send(bytes(extra), "")
        if kind == "stall":
            self.state.healed.wait(120)
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if kind in {"cut", "reset", "stall", "announce"}:
            self.close_connection = True

    def _send(self, data: bytes, name: str) -> None:
        with self.state.lock:
            self.state.sent[name] += len(data)
        self.wfile.write(data)

    def _head(self, response: HTTPResponse, length: int) -> bytes:
        headers = [pair for pair in response.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        lines = [f"{name}: {value}" for name, value in (*headers, ("Content-Length", length))]
        return "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines, "", ""]).encode("latin-1")

    def _refuse(self, fault: Fault) -> None:
        status = fault.at or 500
        body = f"<Error><Code>Code{status}</Code><Message>no</Message></Error>".encode()
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in {**fault.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


def _flipped(piece: bytes, at: int) -> bytes:
    return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
