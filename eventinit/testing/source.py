"""A model that exists only in memory."""

from dataclasses import dataclass, field
from pathlib import Path

from anyio import sleep

from eventinit.ports import DownloadMode, DownloadResult, FetchProgress, Report


@dataclass(slots=True)
class FakeSource:
    """Implements the ``ModelSource`` port; nothing is written.

    Attributes:
        files: How many files the model has, of ``file_bytes`` each.
        seconds: How long the fetch takes, in seconds.
        fails_with: Raised when half of the files are there.
        path: The model's folder.
        can_be_shared: Whether a node may serve the files to others.
        fetched: The mode of each fetch that succeeded.
    """

    files: int = 4
    file_bytes: int = 1_000_000
    seconds: float = 0.0
    fails_with: Exception | None = None
    path: Path = Path("/nowhere/fake-model")
    can_be_shared: bool = True
    fetched: list[DownloadMode] = field(default_factory=list[DownloadMode])

    async def fetch(self, mode: DownloadMode, report: Report) -> DownloadResult:
        """Pretend to fetch, file by file; raises ``fails_with``, if that is set, half-way."""
        total = self.files * self.file_bytes
        for done in range(self.files):
            report(FetchProgress(done * self.file_bytes, total, done, self.files))
            await sleep(self.seconds / self.files)
            if self.fails_with is not None and done >= self.files // 2:
                raise self.fails_with
        report(FetchProgress(total, total, self.files, self.files))
        self.fetched.append(mode)
        return DownloadResult(self.path, "fake", mode, self.files, total, total, self.seconds)
