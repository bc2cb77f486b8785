"""A file that comes in ranges, several at a time, into its partial file."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import final

from anyio import CancelScope, current_time

from eventinit.downloads.job import Job
from eventinit.downloads.mirrors import Place
from eventinit.downloads.partial_file import PartialFile
from eventinit.downloads.reading import GivenUpError, can_resume
from eventinit.downloads.spans import Span, length, split
from eventinit.downloads.workspace import Workspace

RANGE_BYTES = 16 * 1024 * 1024
FLUSH_S = 1.0


@final
class LargeFile:
    """One file on its way, with the requests for its ranges.

    Attributes:
        failure: Why its store has been given up, if it has.
        refetched: Whether it came out wrong once already.
        waiting: How many of its ranges are not fetched yet.
    """

    def __init__(self, job: Job, file: PartialFile, place: Place) -> None:
        self.job = job
        self.partial = file
        self.place = place
        self.failure: GivenUpError | None = None
        self.refetched = False
        self.waiting = 0
        self._requests: set[CancelScope] = set()

    def plan(self) -> list[Span]:
        """Return the ranges to fetch from the store at hand; a store that cannot read ranges gives all in one."""
        self.failure = None
        missing = self.partial.missing()
        spans = list(split(missing, RANGE_BYTES)) if can_resume(self.place.store, self.place.file) else missing
        self.waiting = len(spans)
        return spans

    def present(self) -> int:
        """Return how many bytes are there."""
        return self.job.file.size - length(self.partial.missing())

    @contextmanager
    def request(self) -> Generator[None]:
        """Let a request run in the block until the store of the file is given up."""
        with CancelScope() as scope:
            self._requests.add(scope)
            try:
                yield
            except GivenUpError as error:
                self._requests.discard(scope)
                self.give_up(error)
            finally:
                self._requests.discard(scope)

    def give_up(self, failure: GivenUpError) -> None:
        """End the file's other requests too, since they ask the same store."""
        self.failure = self.failure or failure
        for scope in self._requests:
            scope.cancel()


@final
class RangeSink:
    """Gathers the pieces of a range and writes some of them at a time."""

    def __init__(
        self, workspace: Workspace, large: LargeFile, start: int, step: int, recount: Callable[[Job, int], None]
    ) -> None:
        self._workspace = workspace
        self._large = large
        self._at = start
        self._step = step
        self._recount = recount
        self._pieces: list[memoryview] = []
        self._gathered = 0
        self._flushed_at = current_time()

    async def take(self, piece: memoryview) -> None:
        """Keep the next bytes, and write when there are enough of them or the last write was long ago."""
        self._pieces.append(piece)
        self._gathered += piece.nbytes
        if self._gathered >= self._step or current_time() - self._flushed_at >= FLUSH_S:
            await self.flush()

    async def flush(self) -> None:
        """Write what was gathered."""
        if self._gathered:
            pieces, at = self._pieces, self._at
            self._pieces, self._at, self._gathered = [], at + self._gathered, 0
            await self._workspace.run(partial(self._large.partial.write, at, pieces))
        self._flushed_at = current_time()

    async def restart(self) -> None:
        """Begin with the whole file anew."""
        self._pieces, self._at, self._gathered = [], 0, 0
        place = self._large.place
        await self._workspace.run(partial(self._large.partial.restart, place.file, place.store.source))
        self._recount(self._large.job, 0)
