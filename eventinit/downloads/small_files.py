"""Files that come with one request: written, checked and named in one go, many in one thread."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventinit.downloads.job import Job, expected_checksum
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.partial_file import partial_path, remove_partial
from eventinit.downloads.remote import RemoteFile
from eventinit.downloads.verification import digest, safetensors_problem
from eventinit.downloads.workspace import Workspace


@dataclass(slots=True)
class Received:
    """The bytes of a small file, as one store sent them."""

    job: Job
    file: RemoteFile
    pieces: list[memoryview]


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what it should be."""

    job: Job
    expected: str
    actual: str


class MemorySink:
    """Keeps the bytes of a small file until they are all there."""

    def __init__(self) -> None:
        self.pieces: list[memoryview] = []

    async def take(self, piece: memoryview) -> None:
        """Keep the next bytes."""
        self.pieces.append(piece)

    async def flush(self) -> None:
        """Do nothing: there is nowhere to put them yet."""

    async def restart(self) -> None:
        """Forget the bytes."""
        self.pieces.clear()


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


def publish(workspace: Workspace, batch: Sequence[Received]) -> list[Damage]:
    """Give each file that is right its final name, record them all, and return what is wrong with the others.

    None is synced to the disk one by one, which would cost more than all the rest: what the disk may have lost with
    the machine is known by the boot in the record, and its checksum is compared then.
    """
    entries: list[HeldFile] = []
    damages: list[Damage] = []
    for received in batch:
        result = _publish_one(workspace, received)
        if isinstance(result, Damage):
            damages.append(result)
        else:
            entries.append(result)
    workspace.manifest.add(entries)
    for entry in entries:
        workspace.locks.release(entry.name)
    return damages


def _publish_one(workspace: Workspace, received: Received) -> HeldFile | Damage:
    job = received.job
    expected = expected_checksum(job.file, received.file)
    actual = digest(received.pieces, expected.algorithm if expected else "sha256")
    if expected and actual != expected:
        return Damage(job, f"{expected.algorithm} {expected.value}", actual.value)
    new = partial_path(workspace.folder, job.file.name).with_suffix(".whole")
    workspace.make_folder(new.parent)
    mtime_ns = _write_new(new, received.pieces)
    if problem := is_broken(job.file.name, new):
        new.unlink()
        return Damage(job, "the header of a safetensors file", problem)
    workspace.make_folder(job.path.parent)
    new.replace(job.path)
    if new.stem in workspace.left:
        remove_partial(workspace.folder, job.file.name)
    return job.record(actual, compared=bool(expected), mtime_ns=mtime_ns, boot_id=workspace.boot_id)


def is_broken(name: str, path: Path) -> str | None:
    """Return what is wrong with the header of a file that is named as safetensors."""
    return safetensors_problem(path) if name.endswith(".safetensors") else None


def _write_new(path: Path, pieces: Sequence[Any]) -> int:
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            rest = memoryview(piece)
            while rest.nbytes:
                rest = rest[os.write(file.fileno(), rest) :]
        return os.fstat(file.fileno()).st_mtime_ns
