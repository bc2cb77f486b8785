"""Files as workers take them: small ones in batches, and then large ones one by one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventinit.downloads.followed import SMALL_BYTES
from eventinit.downloads.job import Job

BATCH_FILES = 32


@dataclass(frozen=True, slots=True)
class Portions:
    """What there is to take, in order.

    Attributes:
        batches: The small files, each batch for one worker.
        large: The others, which several workers share.
    """

    batches: Sequence[Sequence[Job]]
    large: Sequence[Job]


def in_portions(jobs: Iterable[Job], step_bytes: int, workers: int) -> Portions:
    """Return files in portions; a batch has no more bytes than a worker holds at a time."""
    jobs = sorted(jobs, key=lambda job: job.file.size)
    small = [job for job in jobs if job.file.size <= min(step_bytes, SMALL_BYTES)]
    # Every worker gets several, however few there are.
    count = max(1, min(BATCH_FILES, len(small) // (4 * workers)))
    batches: list[list[Job]] = []
    batch_bytes = 0
    for job in small:
        if not batches or len(batches[-1]) == count or batch_bytes + job.file.size > step_bytes:
            batches.append([])
            batch_bytes = 0
        batches[-1].append(job)
        batch_bytes += job.file.size
    return Portions(batches, jobs[len(small) :])
