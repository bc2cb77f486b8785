"""What a fetch has to do: which files are there already, and how much of the others."""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
from anyio import Semaphore

from eventinit.downloads.job import Job
from eventinit.downloads.manifest import HeldFile
from eventinit.downloads.partial_file import bytes_present, left_in
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.verification import can_check, digest_of_file
from eventinit.downloads.workspace import Workspace
from eventinit.logs import log_event

HASHERS = 2


@dataclass(slots=True)
class Plan:
    """The files of a fetch.

    Attributes:
        held: Those that are complete and right.
        doubtful: Those that look complete, with their records: only their content can tell.
        missing: Those that are to be fetched.
    """

    held: list[Job] = field(default_factory=list[Job])
    doubtful: list[tuple[Job, HeldFile]] = field(default_factory=list[tuple[Job, HeldFile]])
    missing: list[Job] = field(default_factory=list[Job])

    @property
    def needed_bytes(self) -> int:
        """How many bytes are still to come."""
        return sum(job.file.size - job.counted for job in self.missing)


async def make_plan(
    workspace: Workspace,
    wanted: Sequence[RemoteFile],
    paths: Mapping[str, Path],
    store: Store,
    *,
    full: bool,
) -> Plan:
    """Compare what is wanted with what the folder has.

    Args:
        workspace: The folder.
        wanted: The files that shall be there.
        paths: Their final paths by name.
        store: The store that listed them.
        full: Read every file that is there, and compare its checksum.
    """
    plan = await workspace.run(partial(_look, workspace, wanted, paths, store.identity, full=full))
    await _settle(workspace, plan)
    if store.reads_ranges:
        await workspace.run(partial(_count_partials, workspace, plan.missing))
    return plan


def _look(
    workspace: Workspace, wanted: Iterable[RemoteFile], paths: Mapping[str, Path], origin: str, *, full: bool
) -> Plan:
    files = workspace.manifest.refresh().files
    plan = Plan()
    for file in wanted:
        job = Job(file, paths[file.name], origin)
        entry = files.get(file.name)
        there = _stat(job.path)
        if entry is None or there is None or not entry.is_of(job.file, job.origin) or there[0] != entry.size:
            plan.missing.append(job)
            continue
        is_untouched = there[1] == entry.mtime_ns
        survived = entry.boot_id in {None, workspace.boot_id}
        if is_untouched and survived and not full:
            plan.held.append(job)
        elif entry.checksum or (full and is_untouched and survived):
            plan.doubtful.append((job, entry))
        else:
            plan.missing.append(job)
    return plan


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_size, there.st_mtime_ns


async def _settle(workspace: Workspace, plan: Plan) -> None:
    """Read the doubtful files, some at a time, and sort them by what they hold."""
    at_work = Semaphore(HASHERS)
    changed: list[HeldFile] = []

    async def settle(job: Job, entry: HeldFile) -> None:
        async with at_work:
            found = await workspace.run_long(partial(_read_again, workspace, job, entry))
        if found is None:
            log_event(logging.WARNING, "file_damaged_on_disk", file=str(job.path))
            await workspace.run(partial(workspace.manifest.forget, [job.file.name]))
            plan.missing.append(job)
        else:
            plan.held.append(job)
            if found != entry:
                changed.append(found)

    async with anyio.create_task_group() as tasks:
        for job, entry in plan.doubtful:
            tasks.start_soon(settle, job, entry)
    if changed:
        await workspace.run(partial(workspace.manifest.add, changed))


def _read_again(workspace: Workspace, job: Job, entry: HeldFile, hurry: threading.Event) -> HeldFile | None:
    """Return the record of a file whose content is what it was recorded as, else None."""
    known = entry.checksum
    if known is not None and not can_check(known.algorithm):
        known = None
    found = digest_of_file(job.path, known.algorithm if known else "sha256", hurry)
    if known not in {None, found}:
        return None
    # What comes back after a reboot is on the disk; what was never hashed is known by its hash from now on.
    boot_id = entry.boot_id if entry.boot_id == workspace.boot_id else None
    return replace(entry, checksum=found, mtime_ns=job.path.stat().st_mtime_ns, boot_id=boot_id)


def _count_partials(workspace: Workspace, missing: Iterable[Job]) -> None:
    for job in missing if left_in(workspace.folder) else ():
        job.counted = bytes_present(workspace.folder, job.file, workspace.boot_id)
