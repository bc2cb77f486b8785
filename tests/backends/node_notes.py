"""A handler that nodes build for themselves, and that leaves notes of what it sees in a folder."""

import json
import os
from pathlib import Path
from typing import Final, final

import anyio

from eventinit import handles
from eventinit.events import NodeDownloadEvent, PostNodeDownload, PreNodeDownload

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
