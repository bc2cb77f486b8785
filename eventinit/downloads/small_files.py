"""Files that come with one request: read, checked and named one after another, many in one thread."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from eventinit.downloads.fetch_state import FetchState
from eventinit.downloads.job import Job, expected_checksum
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.mirrors import Place
from eventinit.downloads.partial_file import partial_path
from eventinit.downloads.reading import GivenUpError
from eventinit.downloads.remote import Checksum
from eventinit.downloads.verification import digest, safetensors_problem
from eventinit.downloads.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what it should be."""

    job: Job
    expected: str
    actual: str


@final
class Content:
    """Keeps the bytes of a small file until they are all there."""

    def __init__(self, job: Job, state: FetchState) -> None:
        self.data = bytearray()
        self._job = job
        self._state = state
        state.recount(job, 0)

    def take(self, piece: memoryview) -> None:
        """Keep and count the next bytes."""
        self.data += piece
        self._state.arrived(self._job, piece.nbytes)

    def restart(self) -> None:
        """Forget the bytes."""
        self.data.clear()
        self._state.recount(self._job, 0)


@dataclass(slots=True)
class Batch:
    """Small files, each with the place to read it from.

    Attributes:
        left: Those that have not come yet.
        done: Those that are complete.
        damages: What is wrong with those that came otherwise than they should.
    """

    left: deque[tuple[Job, Place]]
    done: list[Job] = field(default_factory=list[Job])
    damages: list[Damage] = field(default_factory=list[Damage])


def claim(workspace: Workspace, jobs: Sequence[Job]) -> tuple[list[Job], list[Job], list[Job]]:
    """Take the locks of files that nobody else fetches; return ours, those of others, and those complete by now."""
    ours = [job for job in jobs if workspace.locks.try_acquire(job.file.name)]
    # Only now, since whoever had a lock recorded the file before letting go.
    files = workspace.manifest.refresh().files
    complete = [job for job in ours if is_held(files.get(job.file.name), job)]
    for job in complete:
        workspace.locks.release(job.file.name)
    done, taken = set(map(id, complete)), set(map(id, ours))
    return (
        [job for job in ours if id(job) not in done],
        [job for job in jobs if id(job) not in taken],
        complete,
    )


def is_held(entry: HeldFile | None, job: Job) -> bool:
    """Return whether a record says that a file is complete, and the disk agrees."""
    if entry is None or not entry.is_of(job.file, job.origin):
        return False
    try:
        there = job.path.stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (entry.size, entry.mtime_ns)


def bring(workspace: Workspace, batch: Batch, read: Callable[[Job, Place], bytearray]) -> GivenUpError | None:
    """Read files and give each that is right its final name, until none is left or the first of them cannot be had.

    None is synced to the disk one by one, which would cost more than all the rest: what the disk may have lost with
    the machine is known by the boot in the record, and its checksum is compared then.
    """
    entries: list[HeldFile] = []
    try:
        while batch.left:
            job, place = batch.left[0]
            result = _publish(workspace, job, expected_checksum(job.file, place.file), read(job, place))
            batch.left.popleft()
            if isinstance(result, Damage):
                batch.damages.append(result)
            else:
                entries.append(result)
                batch.done.append(job)
    except GivenUpError as failure:
        return failure
    finally:
        _record(workspace, entries)
    return None


def _publish(workspace: Workspace, job: Job, expected: Checksum | None, data: bytearray) -> HeldFile | Damage:
    actual = digest([data], expected.algorithm if expected else "sha256")
    if expected and actual != expected:
        return Damage(job, f"{expected.algorithm} {expected.value}", actual.value)
    new = partial_path(workspace.folder, job.file.name).with_suffix(".whole")
    workspace.make_folder(new.parent)
    mtime_ns = _write_new(new, data)
    if problem := is_broken(job.file.name, new):
        new.unlink()
        return Damage(job, "the header of a safetensors file", problem)
    workspace.make_folder(job.path.parent)
    new.replace(job.path)
    return job.record(actual, compared=bool(expected), mtime_ns=mtime_ns, boot_id=workspace.boot_id)


def _record(workspace: Workspace, entries: Iterable[HeldFile]) -> None:
    workspace.manifest.add(entries)
    for entry in entries:
        workspace.locks.release(entry.name)


def is_broken(name: str, path: Path) -> str | None:
    """Return what is wrong with the header of a file that is named as safetensors."""
    return safetensors_problem(path) if name.endswith(".safetensors") else None


def _write_new(path: Path, data: bytearray) -> int:
    with path.open("wb", buffering=0) as file:
        rest = memoryview(data)
        while rest.nbytes:
            rest = rest[os.write(file.fileno(), rest) :]
        return os.fstat(file.fileno()).st_mtime_ns
