"""Bring missing files to this machine: small ones first, large ones in ranges, none of them twice."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import cast, final

import anyio
from anyio import Semaphore

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.fetch_state import FetchState
from eventinit.downloads.job import Job, expected_checksum
from eventinit.downloads.large_file import LargeFile, RangeSink
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.mirrors import Mirrors, Place
from eventinit.downloads.partial_file import PartialFile, adopt_complete, bytes_on_disk, remove_partial
from eventinit.downloads.reading import GivenUpError, Reading, can_resume
from eventinit.downloads.remote import Checksum
from eventinit.downloads.small_files import Damage, MemorySink, Received, claim, is_broken, is_held, publish
from eventinit.downloads.spans import Span
from eventinit.downloads.verification import digest_of_file
from eventinit.downloads.workspace import Workspace
from eventinit.errors import IntegrityError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings

FOLLOW_S = 0.2
"""How often a fetch looks after files that others fetch: what a killed one leaves is taken over at the next look."""

MOST_STEP_BYTES = 4 * 1024 * 1024
LEAST_STEP_BYTES = 64 * 1024
SMALL_BYTES = 1024 * 1024
BATCH_FILES = 16
CHECKS = 2


@final
class Transfer:
    """One transfer into one folder.

    The workers share three queues: batches of small files, ranges of large files that are open, and large files that
    are not. What somebody else is fetching is followed: as soon as it is complete it counts, and as soon as its lock is
    free without that, it comes back into the queues.
    """

    def __init__(self, workspace: Workspace, mirrors: Mirrors, settings: DownloadSettings, state: FetchState) -> None:
        self._workspace = workspace
        self._mirrors = mirrors
        self._settings = settings
        self._state = state
        self._bandwidth = Bandwidth(settings.max_bandwidth)
        self._checks = Semaphore(CHECKS)
        self._tasks = anyio.create_task_group()
        self._batches: deque[list[Job]] = deque()
        self._spans: deque[tuple[LargeFile, Span]] = deque()
        self._unopened: deque[Job] = deque()
        self._followed: dict[str, Job] = {}
        self._left = 0
        self._news = anyio.Event()
        self._step = MOST_STEP_BYTES

    async def run(self, jobs: Sequence[Job]) -> None:
        """Return when all files are complete; when one fails the others end with it."""
        # So that a kill loses little of any model: all workers together hold about 6 % of what is to come.
        missing = sum(job.file.size - job.counted for job in jobs)
        self._step = max(LEAST_STEP_BYTES, min(missing // 128, MOST_STEP_BYTES))
        self._left = len(jobs)
        self._queue(jobs)
        try:
            async with self._tasks:
                self._tasks.start_soon(self._follow)
                for _ in range(self._settings.max_concurrency):
                    self._tasks.start_soon(self._work)
        except ExceptionGroup as group:
            error = _first(group)
            raise error from error.__cause__

    def _queue(self, jobs: Iterable[Job]) -> None:
        jobs = sorted(jobs, key=lambda job: job.file.size)
        small = [job for job in jobs if job.file.size <= min(self._step, SMALL_BYTES)]
        self._unopened.extend(jobs[len(small) :])
        # Every worker gets several, however few there are.
        count = max(1, min(BATCH_FILES, len(small) // (4 * self._settings.max_concurrency)))
        batch: list[Job] = []
        for job in small:
            if len(batch) == count or sum(each.file.size for each in batch) + job.file.size > self._step:
                self._batches.append(batch)
                batch = []
            batch.append(job)
        if batch:
            self._batches.append(batch)
        self._tell()

    async def _work(self) -> None:
        while self._left:
            if self._batches:
                await self._bring_batch(self._batches.popleft())
            elif self._spans:
                await self._bring_span(*self._spans.popleft())
            elif self._unopened:
                await self._open(self._unopened.popleft())
            else:
                await self._news.wait()

    def _tell(self) -> None:
        """Wake the workers that have nothing to do."""
        self._news.set()
        self._news = anyio.Event()

    def _recount(self, job: Job, present: int) -> None:
        self._state.add(present - job.counted)
        job.counted = present

    def _arrived(self, job: Job, count: int) -> None:
        self._state.arrived(count)
        job.counted += count

    def _done(self, job: Job) -> None:
        self._recount(job, job.file.size)
        self._state.file_done()
        self._left -= 1
        self._tell()

    async def _bring_batch(self, jobs: Sequence[Job]) -> None:
        ours, others, complete = await self._workspace.run(partial(claim, self._workspace, jobs))
        self._follow_too(others)
        for job in complete:
            self._done(job)
        damages = await self._bring_small(ours)
        if damages:
            log_event(logging.WARNING, "files_damaged", files=[damage.job.file.name for damage in damages])
            damages = await self._bring_small([damage.job for damage in damages])
        for damage in damages:
            raise self._integrity_error(damage)

    async def _bring_small(self, jobs: Sequence[Job]) -> list[Damage]:
        received = [await self._read_whole(job) for job in jobs]
        damages = await self._workspace.run(partial(publish, self._workspace, received)) if received else []
        damaged = {id(damage.job) for damage in damages}
        for job in jobs:
            if id(job) not in damaged:
                self._done(job)
        return damages

    async def _read_whole(self, job: Job) -> Received:
        place = Place(self._mirrors, job.file)
        await place.enter()
        while True:
            self._recount(job, 0)
            sink = MemorySink()
            try:
                await self._read(job, place, (0, job.file.size), sink)
            except GivenUpError as failure:
                await place.advance(failure)
            else:
                return Received(job, place.file, sink.pieces)

    async def _read(self, job: Job, place: Place, span: Span, sink: MemorySink | RangeSink) -> None:
        reading = Reading(
            place.store,
            place.file,
            span,
            sink,
            settings=self._settings,
            bandwidth=self._bandwidth,
            arrived=partial(self._arrived, job),
        )
        await reading.run()

    async def _open(self, job: Job) -> None:
        """Begin with a large file, unless somebody else has it or it is complete by now."""
        place = Place(self._mirrors, job.file)
        await place.enter()
        opened = await self._workspace.run(partial(self._try_open, job, place))
        if opened is None:
            self._follow_too([job])
        elif isinstance(opened, HeldFile):
            self._done(job)
        else:
            large = LargeFile(job, opened, place)
            self._recount(job, large.present())
            await self._begin(large)

    def _try_open(self, job: Job, place: Place) -> PartialFile | HeldFile | None:
        workspace, name = self._workspace, job.file.name
        if not workspace.locks.try_acquire(name):
            return None
        entry = workspace.manifest.refresh().files.get(name)
        if entry is None or not is_held(entry, job):
            entry = adopt_complete(workspace.folder, job.file, job.origin, job.path)
            if entry:
                workspace.manifest.add([entry], durable=True)
        if entry:
            remove_partial(workspace.folder, name)
            workspace.locks.release(name)
            return entry
        file = PartialFile(workspace.folder, place.file, place.store.source, workspace.boot_id)
        workspace.partials.add(file)
        return file

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

    async def _bring_span(self, large: LargeFile, span: Span) -> None:
        with large.request():
            sink = RangeSink(self._workspace, large, span[0], self._step, self._recount)
            await self._read(large.job, large.place, span, sink)
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
        before = large.place.file.checksum
        await large.place.advance(failure)
        is_same = before is not None and before == large.place.file.checksum
        await self._restart(large, keep=is_same)
        await self._begin(large)

    async def _restart(self, large: LargeFile, *, keep: bool = False) -> None:
        place = large.place
        await self._workspace.run(partial(large.partial.restart, place.file, place.store.source, keep=keep))
        self._recount(large.job, large.present())

    async def _finish(self, large: LargeFile) -> None:
        """Check a file that is all there and give it its name, or fetch it once more."""
        async with self._checks:
            result = await self._workspace.run_long(partial(self._check, large))
        if isinstance(result, Damage):
            if large.refetched:
                await self._workspace.run(partial(self._discard, large))
                raise self._integrity_error(result)
            log_event(logging.WARNING, "files_damaged", files=[large.job.file.name])
            large.refetched = True
            await self._restart(large)
            await self._begin(large)
            return
        await self._workspace.run(partial(self._publish, large, result))
        self._done(large.job)

    def _check(self, large: LargeFile, go_on: Callable[[], bool]) -> HeldFile | Damage:
        job, path = large.job, large.partial.path
        size = path.stat().st_size
        if size != job.file.size:
            return Damage(job, f"{job.file.size} bytes", f"{size} bytes")
        expected = expected_checksum(job.file, large.place.file)
        actual: Checksum | None = None
        if expected or self._settings.verify == "full":
            actual = digest_of_file(path, expected.algorithm if expected else "sha256", go_on)
        if expected and actual and actual != expected:
            return Damage(job, f"{expected.algorithm} {expected.value}", actual.value)
        if problem := is_broken(job.file.name, path):
            return Damage(job, "the header of a safetensors file", problem)
        return job.record(actual, compared=bool(expected), mtime_ns=0, boot_id=None)

    def _publish(self, large: LargeFile, entry: HeldFile) -> None:
        done = large.partial.publish(large.job.path, entry)
        self._workspace.manifest.add([done], durable=True)
        self._discard(large)

    def _discard(self, large: LargeFile) -> None:
        large.partial.discard()
        self._workspace.partials.discard(large.partial)
        self._workspace.locks.release(large.job.file.name)

    def _integrity_error(self, damage: Damage) -> IntegrityError:
        return IntegrityError(self._mirrors.source, damage.job.file.name, damage.expected, damage.actual)

    def _follow_too(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._recount(job, 0)
            self._followed[job.file.name] = job

    async def _follow(self) -> None:
        """Look after the files that others fetch until none is left."""
        while self._left:
            with anyio.move_on_after(FOLLOW_S):
                while self._left:
                    await self._news.wait()
            if self._followed:
                await self._look()

    async def _look(self) -> None:
        followed = list(self._followed.values())
        complete, free, on_disk = await self._workspace.run(partial(self._look_at, followed))
        for job in (*complete, *free):
            del self._followed[job.file.name]
        self._state.elsewhere(on_disk)
        for job in complete:
            self._done(job)
        if free:
            log_event(logging.INFO, "files_taken_over", count=len(free))
            self._queue(free)

    def _look_at(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job], int]:
        """Return which files are complete, which nobody holds any more, and how many bytes the others have by now."""
        free: list[Job] = []
        for job in jobs:
            if self._workspace.locks.try_acquire(job.file.name):
                self._workspace.locks.release(job.file.name)
                free.append(job)
        files = self._workspace.manifest.refresh().files
        complete = [job for job in jobs if is_held(files.get(job.file.name), job)]
        done = set(map(id, complete))
        free = [job for job in free if id(job) not in done]
        settled = done | set(map(id, free))
        large = (job for job in jobs if id(job) not in settled and job.file.size > SMALL_BYTES)
        return complete, free, sum(bytes_on_disk(self._workspace.folder, job.file) for job in large)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", error))
    return error
