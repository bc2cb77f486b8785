"""What the tests of the Hub share: sources, and programs that fetch."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from eventinit.downloads.hub import HubSource
from eventinit.ports import DownloadSettings, FetchProgress
from tests.servers.hub import HubState

_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from eventinit.downloads.hub import HubSource
from eventinit.ports import DownloadSettings
endpoint, cache, settings = sys.argv[1], Path(sys.argv[2]), DownloadSettings(**json.loads(sys.argv[3]))
report = lambda progress: print(json.dumps({"bytes": progress.bytes_done}), flush=True)
source = HubSource("org/name", "main", settings, endpoint=endpoint, cache_dir=cache)
result = asyncio.run(source.fetch("MODEL_AND_TOKENIZER", report))
print(json.dumps({"path": str(result.path), "fetched": result.bytes_fetched}), flush=True)
"""


def weights(size: int) -> bytes:
    """Return a safetensors file of so many bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size - 108], "data_offsets": [0, size - 108]}}).encode()
    return struct.pack("<Q", 100) + header.ljust(100) + os.urandom(size - 108)


MODEL = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer.json": b"{}" * 100,
    "chat_template.jinja": b"{{ messages }}",
    "README.md": b"# tiny",
    "empty.txt": b"",
    "nested/notes.txt": b"deep",
    "nested/a b/über+50%25 #1&2=?.txt": b"odd",
    "model-00001-of-00002.safetensors": weights(1000),
    "model-00002-of-00002.safetensors": weights(40 * 1024 * 1024 + 7),
}
"""A model with an empty file, a nested one, and one of many pieces."""

TOKENIZER = {"config.json", "tokenizer.json", "chat_template.jinja"}


def ignore(_: FetchProgress) -> None:
    pass


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def open_hub(
    hub: HubState, cache: Path, revision: str | None = None, settings: DownloadSettings | None = None
) -> HubSource:
    """Open the model of the local Hub, with little patience."""
    patience = settings or DownloadSettings(stall_timeout_s=2.0, attempts=2)
    return HubSource("org/name", revision, patience, endpoint=hub.endpoint, cache_dir=cache)


def children() -> list[psutil.Process]:
    """Return the processes that fetch for this one."""
    return [child for child in psutil.Process().children() if is_child(child)]


def is_child(process: psutil.Process) -> bool:
    try:
        return "eventinit.downloads.hub_child" in process.cmdline()
    except psutil.Error:
        return False


class Program:
    """A program of its own that fetches the model and tells its progress."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def next(self) -> dict[str, Any]:
        """Return what it says next; nothing when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def has_bytes(self, count: int) -> None:
        """Wait until it says that so many bytes are there."""
        while self.next()["bytes"] < count:
            pass

    def result(self) -> dict[str, Any]:
        """Wait for what it ends with."""
        while "path" not in (answer := self.next()):
            assert answer, f"the program ended with {self.process.wait()}"
        return answer


@contextmanager
def program(hub: HubState, cache: Path, settings: DownloadSettings | None = None) -> Generator[Program]:
    """Run a program that fetches; it is killed when the block is left."""
    patience = asdict(settings or DownloadSettings(stall_timeout_s=5.0, attempts=2))
    command = [sys.executable, "-c", _PROGRAM, hub.endpoint, str(cache), json.dumps(patience)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
