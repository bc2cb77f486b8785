"""eventinit itself, with a ticker beside it that tells how late its event loop is."""

import importlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tests.benchmarks.downloads.task import Contender, Notes, Task

if TYPE_CHECKING:
    from eventinit.ports import ModelSource

TICK_S = 0.002


class EventInit(Contender):
    """The download phase's source, as the initializer uses it."""

    name = "eventinit, verify: size"
    hashes = True
    verify: ClassVar[Literal["size", "full"]] = "size"

    def prepare(self) -> None:
        for module in ("anyio._backends._asyncio", "obstore.store", "eventinit.downloads"):
            importlib.import_module(module)

    def fetch(self, task: Task, notes: Notes) -> Path:
        import anyio

        os.environ["EVENTINIT_CACHE"] = str(task.folder)
        return anyio.run(self._fetch, task, notes)

    async def _fetch(self, task: Task, notes: Notes) -> Path:
        import anyio

        found: list[Path] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tick, notes)
            found.append((await self._source(task).fetch("MODEL_AND_TOKENIZER", _ignore)).path)
            tasks.cancel_scope.cancel()
        return found[0]

    def _source(self, task: Task) -> "ModelSource":
        from eventinit.downloads import open_source
        from eventinit.ports import DownloadSettings

        return open_source(task.uri, settings=DownloadSettings(verify=self.verify))


class EventInitFull(EventInit):
    """The same, and what a file without a checksum is gets known for later by its own."""

    name = "eventinit, verify: full"
    verify = "full"


class EventInitHub(EventInit):
    """The same from a Hub: its child process, which imports eventinit and huggingface_hub, counts as the download's."""

    name = "eventinit"
    cases = ("hub",)

    def prepare(self) -> None:
        super().prepare()
        for module in ("huggingface_hub.hf_api", "huggingface_hub.file_download"):
            importlib.import_module(module)

    def _source(self, task: Task) -> "ModelSource":
        from eventinit.downloads import HubSource

        return HubSource(task.uri, cache_dir=task.folder)


async def _tick(notes: Notes) -> None:
    """Note when each tick was due and when it came."""
    import anyio

    while True:
        due = time.monotonic() + TICK_S
        await anyio.sleep(TICK_S)
        notes.ticks.append((due, time.monotonic()))


def _ignore(progress: object) -> None:
    pass
