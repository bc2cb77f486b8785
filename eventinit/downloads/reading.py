"""Bring a range of a file from one store, trying again as often as the settings allow."""

import logging
import random
from time import monotonic
from typing import Protocol, final

from eventinit.downloads.line import Line
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.spans import Span
from eventinit.errors import StoreUnavailableError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings

BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 8.0
LONGEST_RETRY_AFTER_S = 60.0
"""How long a store is obeyed that asks for a pause."""


class Sink(Protocol):
    """Takes the bytes of a range in their order."""

    def take(self, piece: memoryview) -> None:
        """Keep and count the next bytes; others will lie in their place afterwards."""
        ...

    def restart(self) -> None:
        """Forget everything: the bytes come from the first one on again."""
        ...


class GivenUpError(Exception):
    """Raised when the store ``source`` has failed as often as it may; ``silent_s`` is how long no byte had come."""

    def __init__(self, source: str, error: StoreUnavailableError, silent_s: float) -> None:
        self.source = source
        self.error = error
        self.problem = error.problem
        self.silent_s = silent_s
        super().__init__(str(error))


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures: longer each time, and at random, so that not all come at once."""
    return random.uniform(0, min(LONGEST_BACKOFF_S, BACKOFF_S * 2**failures))  # noqa: S311 - no secret


def can_resume(store: Store, file: RemoteFile) -> bool:
    """Return whether pieces fetched at different times are sure to be of one content."""
    return store.reads_ranges and (file.version is not None or file.checksum is not None)


@final
class Reading:
    """Reads one range, in a worker thread. A failure after which it got further than ever does not count.

    Bytes alone are not enough: what begins at the first byte each time, and always ends at the same place, would be
    tried for ever.
    """

    def __init__(
        self, store: Store, file: RemoteFile, span: Span, sink: Sink, *, line: Line, settings: DownloadSettings
    ) -> None:
        self._store = store
        self._file = file
        self._at, self._end = span
        self._furthest = self._at
        self._sink = sink
        self._line = line
        self._attempts = settings.attempts
        self._failures = 0
        self._last_byte_at = monotonic()

    def run(self) -> None:
        """Return when the sink has taken all bytes.

        Raises:
            GivenUpError: The store has failed too often.
            DownloadError: The store refuses.
            InterruptedError: Nobody waits for the bytes any more.
        """
        while self._at < self._end:
            try:
                self._try()
            except StoreUnavailableError as error:
                self._recover(error)

    def _try(self) -> None:
        # Only the store sees each byte: a piece may take longer than the stall timeout without any silence.
        self._store.copy(self._file, self._at, self._end, self._take, self._line)
        if self._at < self._end:
            raise StoreUnavailableError(self._store.source, f"the bytes of {self._file.name} ended early")

    def _take(self, piece: memoryview) -> None:
        count = piece.nbytes
        if self._at + count > self._end:
            raise StoreUnavailableError(self._store.source, f"more bytes of {self._file.name} came than it has")
        self._sink.take(piece)
        self._at += count
        if self._at > self._furthest:
            self._furthest, self._failures = self._at, 0
        self._line.bandwidth.take(count, self._line.hurry)
        self._last_byte_at = monotonic()

    def _recover(self, error: StoreUnavailableError) -> None:
        """Wait before the next attempt, or give up."""
        if self._line.hurry.is_set():
            raise InterruptedError from error
        self._failures += 1
        if self._failures >= self._attempts:
            raise GivenUpError(self._store.source, error, monotonic() - self._last_byte_at) from error
        delay_s = max(backoff_s(self._failures), min(error.retry_after_s, LONGEST_RETRY_AFTER_S))
        log_event(logging.INFO, "fetch_retried", source=self._store.source, file=self._file.name, delay_s=delay_s)
        if self._line.hurry.wait(delay_s):
            raise InterruptedError from error
        if not can_resume(self._store, self._file):
            self._at = 0
            self._sink.restart()
