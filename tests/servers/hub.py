"""A small HTTP server that speaks as much of the Hugging Face Hub's protocol as is needed, and misbehaves if asked."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_CHUNK = 64 * 1024
_LFS = ".safetensors"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer to a request for a file.

    ``cut`` closes the connection after so many bytes, ``stall`` sends nothing more until the server ends, ``flip``
    sends one wrong byte at that place, ``short`` and ``long`` send a file that much shorter or longer; ``refuse``
    answers with the status ``at``.
    """

    kind: Literal["cut", "stall", "flip", "short", "long", "refuse"]
    at: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class HubState:
    """What the server has, what it was asked for, and how it answers.

    Attributes:
        models: The files that ``main`` and ``COMMIT`` have.
        heads: The commit that ``main`` is, if it is not ``COMMIT``.
        commits: The files of other commits.
        refusals: The status and error code with which every request for a model is answered.
        faults: For each file what goes wrong with the next answers, one after another.
        sizes: The sizes that the list of files says, where they are not the true ones.
        xet_hashes: What the Xet storage calls the content of files that it has.
        xet_storage: Where the Xet storage is, such as ``local:///folder``.
        pause_s: How long the server waits before each 64 KiB.
        requests: Every request.
        served: Every file that was sent to its end.
        sent: How many bytes of files were sent.
        tokens: Every Authorization header.
    """

    models: dict[str, Mapping[str, bytes]] = field(default_factory=dict[str, Mapping[str, bytes]])
    heads: dict[str, str] = field(default_factory=dict[str, str])
    commits: dict[tuple[str, str], Mapping[str, bytes]] = field(
        default_factory=dict[tuple[str, str], Mapping[str, bytes]]
    )
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    faults: dict[str, list[Fault]] = field(default_factory=dict[str, list[Fault]])
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    xet_hashes: dict[str, str] = field(default_factory=dict[str, str])
    xet_storage: str | None = None
    pause_s: float = 0.0
    requests: list[str] = field(default_factory=list[str])
    served: list[str] = field(default_factory=list[str])
    sent: int = 0
    tokens: set[str | None] = field(default_factory=set[str | None])
    endpoint: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def files(self, model: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        """Return the commit that a revision is and its files, or None when there is no such revision."""
        commit = self.heads.get(model, COMMIT) if revision == "main" else revision
        if (model, commit) in self.commits:
            return commit, self.commits[model, commit]
        return (commit, self.models[model]) if commit == COMMIT else None


@contextmanager
def hub_server() -> Generator[HubState]:
    """Run a Hub on this machine for as long as the block lasts."""
    state = HubState()

    class Handler(_Handler):
        hub = state

    with _Server(("127.0.0.1", 0), Handler) as server:
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.ended.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients are killed in the middle of what they ask


class _Handler(BaseHTTPRequestHandler):
    hub: HubState
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:  # noqa: PLR0911
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        self.hub.tokens.add(self.headers.get("Authorization"))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree|xet-read-token)/([^/]+)/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        if not found:
            return self._refuse(404, "EntryNotFound")
        model = found[1]
        if model in self.hub.refusals:
            return self._refuse(*self.hub.refusals[model])
        if model not in self.hub.models:
            return self._refuse(401, "RepoNotFound")
        revision = self.hub.files(model, found[3] if api else found[2])
        if revision is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = revision
        if api and found[2] == "xet-read-token":
            return self._xet_token()
        if api:
            return self._json(_info(commit, files) if found[2] == "revision" else self._tree(files))
        return self._file(found[3], commit, files)

    def _refuse(self, status: int, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tree(self, files: Mapping[str, bytes]) -> list[dict[str, object]]:
        sizes = {name: len(content) for name, content in files.items()} | self.hub.sizes
        entries = {name: _entry(name, content, sizes[name]) for name, content in files.items()}
        for name, xet_hash in self.hub.xet_hashes.items():
            entries[name]["xetHash"] = xet_hash
        return list(entries.values())

    def _xet_token(self) -> None:
        if self.hub.xet_storage is None:
            return self._refuse(503)
        self.send_response(200)
        self.send_header("X-Xet-Cas-Url", self.hub.xet_storage)
        self.send_header("X-Xet-Access-Token", "for-xet")
        self.send_header("X-Xet-Token-Expiration", str(int(time.time()) + 3600))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _file(self, name: str, commit: str, files: Mapping[str, bytes]) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound")
        fault = self._next_fault(name) if self.command == "GET" else None
        if fault and fault.kind == "refuse":
            return self._refuse(fault.at, headers=fault.headers)
        content = _with(fault, files[name])
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_etag(name, files[name])}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET" and self._send(memoryview(content)[start:], fault):
            self.hub.served.append(name)
        return None

    def _next_fault(self, name: str) -> Fault | None:
        with self.hub.lock:
            waiting = self.hub.faults.get(name)
            return waiting.pop(0) if waiting else None

    def _send(self, content: memoryview, fault: Fault | None) -> bool:
        ends_early = fault is not None and fault.kind in {"cut", "stall"}
        upto = min(fault.at, len(content)) if fault and ends_early else len(content)
        for at in range(0, upto, _CHUNK):
            time.sleep(self.hub.pause_s)
            piece = content[at : min(at + _CHUNK, upto)]
            self.wfile.write(piece)
            with self.hub.lock:
                self.hub.sent += len(piece)
        if fault and fault.kind == "stall":
            self.hub.ended.wait()
        if ends_early:
            self.close_connection = True
        return not ends_early


def _with(fault: Fault | None, content: bytes) -> bytes:
    match fault:
        case Fault("flip", at):
            return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        case Fault("short", at):
            return content[:-at]
        case Fault("long", at):
            return content + bytes(at)
        case _:
            return content


def _etag(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if name.endswith(_LFS) else _git_id(content)


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _info(commit: str, files: Mapping[str, bytes]) -> dict[str, object]:
    siblings = [{"rfilename": name} for name in files]
    return {"id": "org/name", "sha": commit, "private": False, "tags": [], "siblings": siblings}


def _entry(name: str, content: bytes, size: int) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": size, "oid": _git_id(content)}
    if name.endswith(_LFS):
        entry["lfs"] = {"oid": _etag(name, content), "size": size, "pointerSize": 134}
    return entry
