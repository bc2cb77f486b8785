"""The folder that one fetch writes into, and the one way for its threads to do that."""

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, final

import anyio
from anyio import CapacityLimiter, to_thread

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.disk_errors import disk_errors
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.interruption import Interruption
from eventinit.downloads.manifest import Manifest
from eventinit.downloads.partial_file import PartialFile, current_boot
from eventinit.threads import run_in_thread

T = TypeVar("T")

THREADS = 16


class _ClosedError(Exception):
    """Raised in a thread that was late: the fetch is over, and others may hold its locks."""


@final
class Workspace:
    """A model's folder with its locks and its manifest, for one fetch.

    Attributes:
        partials: The partial files that are open.
        needed_bytes: What the fetch needs of the disk, for its errors.

    A thread cannot be interrupted, and a cancelled caller may leave one behind. The locks are let go only when no
    thread of this fetch writes any more, and from then on none begins to: so nobody writes into a file whose lock
    somebody else has taken over.
    """

    def __init__(self, source: str, folder: Path) -> None:
        self.source = source
        self.folder = folder
        self.boot_id = current_boot()
        self.locks = FileLocks(folder / PRIVATE / "locks")
        self.manifest = Manifest(folder, self.locks)
        self.manifest.begin(source)
        self.partials: set[PartialFile] = set()
        self.needed_bytes = 0
        self._made: set[Path] = set()
        self._limiter = CapacityLimiter(THREADS)
        self._changed = threading.Condition()
        self._at_work = 0
        self._is_closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what blocking work on the folder returns, with the disk's refusals as typed errors."""
        with disk_errors(self.source, self.folder, needed_bytes=self.needed_bytes):
            return await to_thread.run_sync(self._guarded, work, limiter=self._limiter)

    async def run_long(self, work: Callable[[Interruption], T], limiter: CapacityLimiter | None = None) -> T:
        """Return what long work returns; it is given what tells it to end early, and looks at that often."""
        hurry = Interruption()
        body = partial(self._guarded, partial(work, hurry))
        with disk_errors(self.source, self.folder, needed_bytes=self.needed_bytes):
            return await run_in_thread(body, name="fetching", hurry=hurry, limiter=limiter or self._limiter)

    def make_folder(self, folder: Path) -> None:
        """Make a folder, if that was not done already."""
        if folder not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add(folder)

    def close(self) -> None:
        """Wait for the threads at work, then let go of files and locks."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._at_work)
        for file in self.partials:
            file.close()
        self.locks.close()

    def _guarded(self, work: Callable[[], T]) -> T:
        with self._changed:
            if self._is_closed:
                raise _ClosedError
            self._at_work += 1
        try:
            return work()
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify_all()


@asynccontextmanager
async def open_workspace(source: str, folder: Path) -> AsyncGenerator[Workspace]:
    """Open a folder for one fetch, and make it if need be."""
    with disk_errors(source, folder):
        workspace = await run_in_thread(
            lambda: Workspace(source, folder), name="opening a model's folder", undo=Workspace.close
        )
    try:
        yield workspace
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_thread(workspace.close, name="closing a model's folder", even_if_cancelled=True)
