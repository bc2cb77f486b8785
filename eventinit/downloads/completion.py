"""Where a large file begins and ends on the disk: it is opened, checked when it is all there, and given its name."""

import threading

from eventinit.downloads.job import Job
from eventinit.downloads.large_file import LargeFile
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.mirrors import Place
from eventinit.downloads.partial_file import PartialFile, adopt_complete
from eventinit.downloads.small_files import Damage, is_broken, is_held
from eventinit.downloads.workspace import Workspace


def try_open(workspace: Workspace, job: Job, place: Place) -> PartialFile | HeldFile | None:
    """Return the partial file to fetch into, the record of a file that is complete, or None while others fetch it."""
    name = job.file.name
    if not workspace.locks.try_acquire(name):
        return None
    entry = workspace.manifest.refresh().files.get(name)
    if entry is None or not is_held(entry, job):
        entry = adopt_complete(workspace.folder, job.file, job.origin, job.path)
        if entry:
            workspace.manifest.add([entry], durable=True)
    if entry:
        workspace.locks.release(name)
        return entry
    file = PartialFile(workspace.folder, place.file, workspace.boot_id)
    workspace.partials.add(file)
    return file


def check(large: LargeFile, hurry: threading.Event) -> HeldFile | Damage:
    """Compare a file with what is known of it."""
    job, path = large.job, large.partial.path
    size = path.stat().st_size
    if size != job.file.size:
        return Damage(job, f"{job.file.size} bytes", f"{size} bytes")
    expected, actual = large.expected, large.checksum(hurry)
    if expected and actual and actual != expected:
        return Damage(job, f"{expected.algorithm} {expected.value}", actual.value)
    if problem := is_broken(job.file.name, path):
        return Damage(job, "the header of a safetensors file", problem)
    return job.record(actual, compared=bool(expected), mtime_ns=0, boot_id=None)


def publish(workspace: Workspace, large: LargeFile, entry: HeldFile) -> None:
    """Give a file that is right its final name, and record it."""
    done = large.partial.publish(large.job.path, entry)
    workspace.manifest.add([done], durable=True)
    discard(workspace, large)


def discard(workspace: Workspace, large: LargeFile) -> None:
    """Remove what is left of the fetch of a file, and let others have its lock."""
    large.partial.discard()
    workspace.partials.discard(large.partial)
    workspace.locks.release(large.job.file.name)
