"""Progress of a huggingface_hub download, carried from its threads to the event loop."""

import threading
from collections.abc import Callable
from typing import Any, final

from anyio import from_thread
from anyio.lowlevel import EventLoopToken

from eventinit.ports import FetchProgress

_BYTES_BAR = "huggingface_hub.snapshot_download"


class FetchStoppedError(Exception):
    """Raised in the threads of a download whose caller was cancelled."""


@final
class HubProgress:
    """Counts what arrives and reports it on the loop, never backwards and never beyond the total."""

    def __init__(self, report: Callable[[FetchProgress], None], token: EventLoopToken, stop: threading.Event) -> None:
        self._report = report
        self._token = token
        self._stop = stop
        self._lock = threading.Lock()
        self._last = FetchProgress(0, 0, 0, 0)
        self._files_there = 0
        self._files_seen = 0
        self.bytes_fetched = 0

    def begin(self, sizes: list[int], cached_sizes: list[int]) -> None:
        """Set the totals and what is there before anything is fetched."""
        self._files_there = len(cached_sizes)
        with self._lock:
            self._last = FetchProgress(sum(cached_sizes), sum(sizes), len(cached_sizes), len(sizes))
        self._publish()

    def end(self, sizes: list[int]) -> None:
        """Report that everything is there, with the sizes as they came out."""
        with self._lock:
            self._last = FetchProgress(sum(sizes), sum(sizes), len(sizes), len(sizes))
        self._publish()

    def bytes_arrived(self, count: int) -> None:
        """Add bytes; a negative count takes back what has to be fetched again."""
        with self._lock:
            self.bytes_fetched += count
            last = self._last
            done = min(last.bytes_done + max(count, 0), last.bytes_total)
            self._last = FetchProgress(done, last.bytes_total, last.files_done, last.files_total)
        self._publish()

    def file_done(self) -> None:
        """Count a file, fetched or found; those found are counted from the start."""
        with self._lock:
            self._files_seen += 1
            last = self._last
            done = min(max(self._files_seen, last.files_done), last.files_total)
            self._last = FetchProgress(last.bytes_done, last.bytes_total, done, last.files_total)
        self._publish()

    def check(self) -> None:
        """Raise when the caller was cancelled."""
        if self._stop.is_set():
            raise FetchStoppedError

    def _publish(self) -> None:
        self.check()
        # The value is read on the loop, so that two threads cannot report in the wrong order.
        from_thread.run_sync(lambda: self._report(self._last), token=self._token)

    def bar_class(self) -> Any:
        """Return a progress bar class for huggingface_hub which shows nothing and tells this object."""
        from huggingface_hub.utils.tqdm import tqdm

        progress = self

        class Bar(tqdm):
            def __init__(self, *args: Any, name: str | None = None, **kwargs: Any) -> None:
                self._counts_bytes = name == _BYTES_BAR
                self._counts_files = name is None
                kwargs["disable"] = True
                super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]

            def update(self, n: float | None = 1) -> None:
                progress.check()
                if self._counts_bytes:
                    progress.bytes_arrived(int(n or 0))
                elif self._counts_files:
                    progress.file_done()

            def refresh(self, *_args: Any, **_kwargs: Any) -> None:
                progress.check()

        return Bar
