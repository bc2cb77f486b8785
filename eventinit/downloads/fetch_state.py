"""How far a fetch is, counted so that what is reported never goes backwards."""

from collections.abc import Callable
from typing import final

from anyio import current_time

from eventinit.ports import FetchProgress

REPORT_S = 0.05


@final
class FetchState:
    """Counts bytes and files of one fetch, and reports them: each file at once, bytes some 20 times a second.

    Attributes:
        bytes_fetched: What came over the network, more than once if it had to.
    """

    def __init__(self, files_total: int, bytes_total: int, report: Callable[[FetchProgress], None]) -> None:
        self._report = report
        self._totals = bytes_total, files_total
        self._bytes_done = 0
        self._files_done = 0
        self._elsewhere = 0
        self._highest = 0
        self._reported_at = 0.0
        self.bytes_fetched = 0

    def begin(self, files_done: int, bytes_done: int) -> None:
        """Report what is there before anything is fetched."""
        self._files_done, self._bytes_done = files_done, bytes_done
        self._tell()

    def arrived(self, count: int) -> None:
        """Count bytes from the network."""
        self.bytes_fetched += count
        self.add(count)

    def add(self, count: int) -> None:
        """Count bytes that are there; a negative count takes back what has to be fetched again."""
        self._bytes_done += count
        if current_time() - self._reported_at >= REPORT_S:
            self._tell()

    def file_done(self) -> None:
        """Count a file that is complete."""
        self._files_done += 1
        self._tell()

    def elsewhere(self, count: int) -> None:
        """Set how many bytes of unfinished files others have fetched by now."""
        self._elsewhere = count
        self.add(0)

    def end(self) -> None:
        """Report that everything is there, if the last report did not say so."""
        if (self._highest, self._files_done) != self._totals:
            self._highest, self._files_done = self._totals
            self._tell()

    def _tell(self) -> None:
        bytes_total, files_total = self._totals
        self._highest = min(max(self._highest, self._bytes_done + self._elsewhere), bytes_total)
        self._reported_at = current_time()
        self._report(FetchProgress(self._highest, bytes_total, self._files_done, files_total))
