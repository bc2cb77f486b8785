"""An S3 endpoint that answers as a test says: for what a real server does not do on request."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class ScriptedS3:
    """Where it answers, and what it was asked for."""

    endpoint: str
    requests: list[str] = field(default_factory=list[str])


def listing(*objects: tuple[str, int]) -> Answer:
    """Return a listing of objects, given as key and size; their etag is ``"e"``."""
    contents = "".join(
        f'<Contents><Key>{key}</Key><Size>{size}</Size><ETag>"e"</ETag>'
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key, size in objects
    )
    return 200, {}, f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


def error(status: int, code: str) -> Answer:
    """Return an error as S3 sends it."""
    return status, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@contextmanager
def scripted_s3(script: Callable[[str], Answer]) -> Generator[ScriptedS3]:
    """Run the endpoint while the block lasts; the script gets each request's path with its query."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            state.requests.append(self.path)
            status, headers, body = script(self.path)
            with suppress(ConnectionError):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = ScriptedS3(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
