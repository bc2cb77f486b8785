"""Bring missing files to this machine: small ones first, large ones in ranges, none of them twice."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar, cast, final

import anyio
from anyio import CapacityLimiter, Semaphore

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.batches import in_portions
from eventinit.downloads.completion import check, discard, publish, try_open
from eventinit.downloads.fetch_state import FetchState
from eventinit.downloads.followed import Followed
from eventinit.downloads.interruption import Interruption
from eventinit.downloads.job import Job
from eventinit.downloads.large_file import LEAST_RANGE_BYTES, LargeFile, RangeSink, fitting_range_bytes
from eventinit.downloads.line import Line
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.mirrors import Mirrors, Place
from eventinit.downloads.reading import GivenUpError, Reading, Sink, can_resume
from eventinit.downloads.small_files import Batch, Content, Damage, bring, claim
from eventinit.downloads.spans import Span
from eventinit.downloads.workspace import Workspace
from eventinit.errors import IntegrityError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings

T = TypeVar("T")

FOLLOW_S = 0.2
"""How often a fetch looks after files that others fetch: what a killed one leaves is taken over at the next look."""

MOST_STEP_BYTES = 1024 * 1024
LEAST_STEP_BYTES = 64 * 1024
CHECKS = 2


@final
class Transfer:
    """One transfer into one folder.

    The workers share three queues: batches of small files, ranges of large files that are open, and large files that
    are not. They only decide: bytes go from the store to the disk in a thread of each worker's. What somebody else is
    fetching is followed: as soon as it is complete it counts, and as soon as its lock is free without that, it comes
    back into the queues.
    """

    def __init__(self, workspace: Workspace, mirrors: Mirrors, settings: DownloadSettings, state: FetchState) -> None:
        self._workspace = workspace
        self._mirrors = mirrors
        self._settings = settings
        self._state = state
        self._bandwidth = Bandwidth(settings.max_bandwidth)
        self._threads = CapacityLimiter(settings.max_concurrency)
        self._checks = Semaphore(CHECKS)
        self._tasks = anyio.create_task_group()
        self._batches: deque[Sequence[Job]] = deque()
        self._spans: deque[tuple[LargeFile, Span]] = deque()
        self._unopened: deque[Job] = deque()
        self._followed = Followed(workspace)
        self._left = 0
        self._news = anyio.Event()
        self._step = MOST_STEP_BYTES
        self._range_bytes = LEAST_RANGE_BYTES

    async def run(self, jobs: Sequence[Job]) -> None:
        """Return when all files are complete; when one fails the others end with it."""
        # So that a kill loses little of any model: all workers together hold about 6 % of what is to come.
        missing = self._workspace.needed_bytes
        self._step = max(LEAST_STEP_BYTES, min(missing // 128, MOST_STEP_BYTES))
        self._range_bytes = fitting_range_bytes(missing, self._settings.max_concurrency)
        self._left = len(jobs)
        await self._queue(jobs)
        try:
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(self._follow)
                watchers.start_soon(self._state.keep_reporting)
                async with self._tasks:
                    for _ in range(self._settings.max_concurrency):
                        self._tasks.start_soon(self._work)
                watchers.cancel_scope.cancel()
        except ExceptionGroup as group:
            error = _first(group)
            raise error from error.__cause__

    async def _queue(self, jobs: Iterable[Job]) -> None:
        # In a thread, since there may be ten thousands of them.
        portions = await self._workspace.run(partial(in_portions, jobs, self._step, self._settings.max_concurrency))
        self._batches.extend(portions.batches)
        self._unopened.extend(portions.large)
        self._tell()

    async def _work(self) -> None:
        line = Line(self._step, self._bandwidth)
        try:
            while self._left:
                if self._batches:
                    await self._bring_batch(self._batches.popleft(), line)
                elif self._spans:
                    await self._bring_span(*self._spans.popleft(), line)
                elif self._unopened:
                    await self._open(self._unopened.popleft())
                else:
                    await self._news.wait()
        finally:
            line.close()

    def _tell(self) -> None:
        """Wake the workers that have nothing to do."""
        self._news.set()
        self._news = anyio.Event()

    def _done(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._state.file_done(job)
            self._left -= 1
        self._tell()

    async def _through(self, line: Line, work: Callable[[], T]) -> T:
        """Return what work returns that reads through a line, in a thread."""

        def body(hurry: Interruption) -> T:
            line.hurry = hurry
            return work()

        return await self._workspace.run_long(body, self._threads)

    def _read(self, place: Place, span: Span, sink: Sink, line: Line) -> None:
        Reading(place.store, place.file, span, sink, line=line, settings=self._settings).run()

    def _read_span(self, large: LargeFile, span: Span, line: Line) -> None:
        self._read(large.place, span, RangeSink(large, span[0], self._state), line)
        large.hash_beginning(line.hurry)

    async def _place(self, job: Job) -> Place:
        place = Place(self._mirrors, job.file)
        await place.enter()
        return place

    async def _bring_batch(self, jobs: Sequence[Job], line: Line) -> None:
        ours, others, complete = await self._workspace.run(partial(claim, self._workspace, jobs))
        self._leave(others)
        self._done(complete)
        damages = await self._bring_small(ours, line)
        if damages:
            log_event(logging.WARNING, "files_damaged", files=[damage.job.file.name for damage in damages])
            damages = await self._bring_small([damage.job for damage in damages], line)
        for damage in damages:
            raise self._integrity_error(damage)

    async def _bring_small(self, jobs: Iterable[Job], line: Line) -> Sequence[Damage]:
        batch = Batch(deque([(job, await self._place(job)) for job in jobs]))
        while batch.left:
            failure = await self._through(
                line, partial(bring, self._workspace, batch, partial(self._read_whole, line=line))
            )
            self._done(batch.done)
            batch.done.clear()
            if failure:
                (job, place), *rest = batch.left
                await place.advance(failure)
                batch.left = deque([(job, place), *[(job, await self._place(job)) for job, _ in rest]])
        return batch.damages

    def _read_whole(self, job: Job, place: Place, line: Line) -> bytearray:
        content = Content(job, self._state)
        self._read(place, (0, job.file.size), content, line)
        return content.data

    async def _open(self, job: Job) -> None:
        """Begin with a large file, unless somebody else has it or it is complete by now."""
        place = await self._place(job)
        opened = await self._workspace.run(partial(try_open, self._workspace, job, place))
        if opened is None:
            self._leave([job])
        elif isinstance(opened, HeldFile):
            self._done([job])
        else:
            full = self._settings.verify == "full"
            large = LargeFile(job, opened, place, self._range_bytes, full=full)
            self._state.recount(job, large.present())
            await self._begin(large)

    async def _begin(self, large: LargeFile) -> None:
        """Put the ranges of a file that are missing into the queue."""
        if not can_resume(large.place.store, large.place.file):
            log_event(logging.INFO, "not_resumable", source=large.place.store.source, file=large.job.file.name)
            if large.present():
                await self._restart(large)
        self._spans.extend((large, span) for span in large.plan())
        if not large.waiting:
            self._tasks.start_soon(self._finish, large)
        self._tell()

    async def _bring_span(self, large: LargeFile, span: Span, line: Line) -> None:
        with large.request():
            await self._through(line, partial(self._read_span, large, span, line))
        large.waiting -= 1
        if large.failure:
            kept = [(other, rest) for other, rest in self._spans if other is not large]
            large.waiting -= len(self._spans) - len(kept)
            self._spans = deque(kept)
        if large.waiting:
            return
        if large.failure:
            await self._move(large, large.failure)
        else:
            self._tasks.start_soon(self._finish, large)

    async def _move(self, large: LargeFile, failure: GivenUpError) -> None:
        """Go on with the next mirror, keeping what is there only if that is sure to be of the same content."""
        before = large.place.known_by
        await large.place.advance(failure)
        await self._restart(large, keep=bool(before & large.place.known_by))
        await self._begin(large)

    async def _restart(self, large: LargeFile, *, keep: bool = False) -> None:
        await self._workspace.run(partial(large.partial.restart, large.place.file, keep=keep))
        self._state.recount(large.job, large.present())

    async def _finish(self, large: LargeFile) -> None:
        """Check a file that is all there and give it its name, or fetch it once more."""
        async with self._checks:
            result = await self._workspace.run_long(partial(check, large))
        if isinstance(result, Damage):
            if large.refetched:
                await self._workspace.run(partial(discard, self._workspace, large))
                raise self._integrity_error(result)
            log_event(logging.WARNING, "files_damaged", files=[large.job.file.name])
            large.refetched = True
            await self._restart(large)
            await self._begin(large)
            return
        await self._workspace.run(partial(publish, self._workspace, large, result))
        self._done([large.job])

    def _integrity_error(self, damage: Damage) -> IntegrityError:
        return IntegrityError(self._mirrors.source, damage.job.file.name, damage.expected, damage.actual)

    def _leave(self, jobs: Sequence[Job]) -> None:
        """Leave files to others, as long as these fetch them."""
        for job in jobs:
            self._state.recount(job, 0)
        self._followed.add(jobs)

    async def _follow(self) -> None:
        """Look after the files that others fetch."""
        while True:
            await anyio.sleep(FOLLOW_S)
            look = await self._followed.look()
            self._state.elsewhere(look.bytes_there)
            if look.complete:
                self._done(look.complete)
            if look.free:
                log_event(logging.INFO, "files_taken_over", count=len(look.free))
                await self._queue(look.free)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", error))
    return error
