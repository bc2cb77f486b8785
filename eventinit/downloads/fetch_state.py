"""How far a fetch is, counted so that what is reported never goes backwards."""

import threading
from collections.abc import Callable
from typing import final

from anyio import sleep

from eventinit.downloads.job import Job
from eventinit.ports import FetchProgress

REPORT_S = 0.02


@final
class FetchState:
    """Counts bytes and files of one fetch in any thread, and reports them on the event loop, 50 times a second at most.

    Attributes:
        bytes_fetched: What came over the network, more than once if it had to.
    """

    def __init__(self, files_total: int, bytes_total: int, report: Callable[[FetchProgress], None]) -> None:
        self._report = report
        self._totals = bytes_total, files_total
        self._lock = threading.Lock()
        self._bytes_done = 0
        self._files_done = 0
        self._elsewhere = 0
        self._last: FetchProgress | None = None
        self.bytes_fetched = 0

    def begin(self, files_done: int, bytes_done: int) -> None:
        """Report what is there before anything is fetched."""
        self._files_done, self._bytes_done = files_done, bytes_done
        self._tell()

    def arrived(self, job: Job, count: int) -> None:
        """Count bytes of a file from the network."""
        with self._lock:
            self.bytes_fetched += count
            self._bytes_done += count
            job.counted += count

    def recount(self, job: Job, present: int) -> None:
        """Set how many bytes of a file are there; fewer than before have to be fetched again."""
        with self._lock:
            self._bytes_done += present - job.counted
            job.counted = present

    def file_done(self, job: Job) -> None:
        """Count a file that is complete."""
        self.recount(job, job.file.size)
        self._files_done += 1

    def elsewhere(self, count: int) -> None:
        """Set how many bytes of unfinished files others have fetched by now."""
        self._elsewhere = count

    async def keep_reporting(self) -> None:
        """Report what is new, now and then, until cancelled."""
        while True:
            await sleep(REPORT_S)
            self._tell()

    def end(self) -> None:
        """Report that everything is there, if the last report did not say so."""
        self._bytes_done, self._files_done = self._totals
        self._tell()

    def _tell(self) -> None:
        bytes_total, files_total = self._totals
        highest = self._last.bytes_done if self._last else 0
        bytes_done = min(max(highest, self._bytes_done + self._elsewhere), bytes_total)
        progress = FetchProgress(bytes_done, bytes_total, self._files_done, files_total)
        if progress != self._last:
            self._last = progress
            self._report(progress)
