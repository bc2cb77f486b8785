"""What the server and the loopback give to one plain reader, which throws the bytes away."""

import importlib
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.benchmarks.downloads.task import Case, Contender, Notes, Task


class PlainReader(Contender):
    """One GET after another on one connection."""

    name = "(one plain reader)"
    cases: ClassVar[tuple[Case, ...]] = ("large", "small")
    keeps = False
    note = "http.client on one connection, one GET after another, the bytes thrown away"

    def prepare(self) -> None:
        importlib.import_module("obstore.store")

    def fetch(self, task: Task, notes: Notes) -> Path:
        addresses = _addresses(task)
        connection = HTTPConnection(urlsplit(addresses[0]).netloc)
        buffer = memoryview(bytearray(1024 * 1024))
        for address in addresses:
            parts = urlsplit(address)
            connection.request("GET", f"{parts.path}?{parts.query}")
            _discard(connection.getresponse(), buffer)
        connection.close()
        return task.folder


def _addresses(task: Task) -> list[str]:
    import obstore
    from obstore.store import S3Store

    untyped: Any = obstore  # its stubs need arro3 for listings as Arrow tables
    store = S3Store(task.bucket, client_options={"allow_http": True})
    keys = [meta["path"] for page in untyped.list(store, task.prefix) for meta in page]
    addresses: list[str] = untyped.sign(store, "GET", keys, timedelta(hours=1))
    return addresses


def _discard(answer: HTTPResponse, buffer: memoryview) -> None:
    if answer.status != 200:
        raise RuntimeError(f"the server answered {answer.status}")
    while answer.readinto(buffer):
        pass
