"""Files that others fetch into the same folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from eventinit.downloads.job import Job
from eventinit.downloads.partial_file import bytes_on_disk
from eventinit.downloads.small_files import is_held
from eventinit.downloads.workspace import Workspace

SMALL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What became of files that others fetch.

    Attributes:
        complete: Those that are there.
        free: Those that nobody holds any more, and that are not there.
        bytes_there: About how many bytes of the rest the others have by now.
    """

    complete: Sequence[Job]
    free: Sequence[Job]
    bytes_there: int


@final
class Followed:
    """The files that this fetch leaves to others for as long as they are at it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._jobs: dict[str, Job] = {}

    def add(self, jobs: Iterable[Job]) -> None:
        """Leave files to others."""
        self._jobs |= {job.file.name: job for job in jobs}

    async def look(self) -> Look:
        """Return what became of the files; those that are settled are no longer followed."""
        if not self._jobs:
            return Look([], [], 0)
        jobs = list(self._jobs.values())
        look = await self._workspace.run(lambda: _look_at(self._workspace, jobs))
        for job in (*look.complete, *look.free):
            del self._jobs[job.file.name]
        return look


def _look_at(workspace: Workspace, jobs: Sequence[Job]) -> Look:
    free: list[Job] = []
    for job in jobs:
        if workspace.locks.try_acquire(job.file.name):
            workspace.locks.release(job.file.name)
            free.append(job)
    # Only now, since whoever had a lock recorded the file before letting go.
    files = workspace.manifest.refresh().files
    complete = [job for job in jobs if is_held(files.get(job.file.name), job)]
    done = set(map(id, complete))
    free = [job for job in free if id(job) not in done]
    settled = done | set(map(id, free))
    large = (job for job in jobs if id(job) not in settled and job.file.size > SMALL_BYTES)
    return Look(complete, free, sum(bytes_on_disk(workspace.folder, job.file) for job in large))
