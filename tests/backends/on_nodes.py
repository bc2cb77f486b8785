"""What the processes of other nodes import for these tests: a handler that leaves notes, and a fetch that is stuck."""

import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import anyio

from eventinit import handles
from eventinit.events import NodeDownloadEvent, PostNodeDownload, PreNodeDownload
from eventinit.ports import DownloadRequest, DownloadResult, OpenSource, Report

GO: Final = "go"


@final
class NodeNotes:
    """Notes the events of a node; before its download another node waits until the folder has a file ``go``."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    @handles(PreNodeDownload)
    async def before(self, event: PreNodeDownload) -> None:
        self._note("pre", event)
        try:
            while not event.is_local and not (self._folder / GO).exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.05)
        except anyio.get_cancelled_exc_class():
            self._note("stopped", event)
            raise

    @handles(PostNodeDownload)
    def after(self, event: PostNodeDownload) -> None:
        self._note("post", event)

    def _note(self, what: str, event: NodeDownloadEvent) -> None:
        content = {"process": os.getpid(), "custom_data": event.context.custom_data}
        name = f"{what}-{event.node_id or 'here'}"
        unfinished = self._folder / f".{name}"
        unfinished.write_text(json.dumps(content))
        unfinished.rename(self._folder / name)


@dataclass(frozen=True, slots=True)
class DeafFetch:
    """A ``NodeFetch`` that leaves its process as a shell starts one in the background: it ignores interrupts."""

    request: DownloadRequest
    report_interval_s: float = 1.0

    async def run(self, open_source: OpenSource, report: Report) -> DownloadResult:
        """Fetch nothing."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return DownloadResult(Path(), str(os.getpid()), "NONE", 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class StuckFetch:
    """A ``NodeFetch`` that connects to a port and then holds its process up for good."""

    port: int
    request: DownloadRequest
    report_interval_s: float = 1.0

    async def run(self, open_source: OpenSource, report: Report) -> DownloadResult:
        """Never return, whoever asks."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            while True:
                with suppress(BaseException):
                    connection.recv(1)
