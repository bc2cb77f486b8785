"""A small HTTP server that speaks as much of the Hugging Face Hub's protocol as huggingface_hub needs."""

import hashlib
import json
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_CHUNK = 1024 * 1024


@dataclass
class HubState:
    """What the server has, and what it was asked for."""

    models: dict[str, Mapping[str, bytes]] = field(default_factory=dict[str, Mapping[str, bytes]])
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    requests: list[str] = field(default_factory=list[str])
    served: list[str] = field(default_factory=list[str])
    endpoint: str = ""


@contextmanager
def hub_server() -> Generator[HubState]:
    """Run a Hub on this machine for as long as the block lasts."""
    state = HubState()

    class Handler(_Handler):
        hub = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


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

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        if not found:
            return self._refuse(404, "EntryNotFound")
        model = found[1]
        if model in self.hub.refusals:
            return self._refuse(*self.hub.refusals[model])
        if model not in self.hub.models:
            return self._refuse(401, "RepoNotFound")
        if (found[3] if api else found[2]) not in {"main", COMMIT}:
            return self._refuse(404, "RevisionNotFound")
        if api:
            return self._json(
                _info(self.hub.models[model]) if found[2] == "revision" else _tree(self.hub.models[model])
            )
        return self._file(found[3], self.hub.models[model])

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, name: str, files: Mapping[str, bytes]) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound")
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["", "0"])[1])
        content = memoryview(files[name])[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_digest(files[name])}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(files[name]) - 1}/{len(files[name])}")
        self.end_headers()
        if self.command == "GET":
            for at in range(0, len(content), _CHUNK):
                self.wfile.write(content[at : at + _CHUNK])
            self.hub.served.append(name)
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _info(files: Mapping[str, bytes]) -> dict[str, object]:
    siblings = [{"rfilename": n, "size": len(c), "blobId": _digest(c)} for n, c in files.items()]
    return {"id": "org/name", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}


def _tree(files: Mapping[str, bytes]) -> list[dict[str, object]]:
    return [{"type": "file", "path": n, "size": len(c), "oid": _digest(c)} for n, c in files.items()]
