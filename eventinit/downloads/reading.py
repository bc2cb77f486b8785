"""Bring a range of a file from one store, trying again as often as the settings allow."""

import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol, cast, final

from anyio import current_time, sleep

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.spans import Span
from eventinit.errors import StoreUnavailableError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings

BACKOFF_S = 0.25
LONGEST_BACKOFF_S = 8.0


class Sink(Protocol):
    """Takes the bytes of a range in their order."""

    async def take(self, piece: memoryview) -> None:
        """Take the next bytes."""
        ...

    async def flush(self) -> None:
        """Keep what was taken: no more may come for a while."""
        ...

    async def restart(self) -> None:
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
    """Reads one range. A failure after which it got further than ever does not count against the attempts.

    Bytes alone are not enough: what begins at the first byte each time, and always ends at the same place, would be
    tried for ever.
    """

    def __init__(
        self,
        store: Store,
        file: RemoteFile,
        span: Span,
        sink: Sink,
        *,
        settings: DownloadSettings,
        bandwidth: Bandwidth,
        arrived: Callable[[int], None],
    ) -> None:
        self._store = store
        self._file = file
        self._at, self._end = span
        self._furthest = self._at
        self._sink = sink
        self._settings = settings
        self._bandwidth = bandwidth
        self._arrived = arrived
        self._failures = 0
        self._last_byte_at = current_time()

    async def run(self) -> None:
        """Return when the sink has taken all bytes.

        Raises:
            GivenUpError: The store has failed too often.
            DownloadError: The store refuses.
        """
        while self._at < self._end:
            try:
                await self._try()
            except StoreUnavailableError as error:
                await self._recover(error)
        await self._sink.flush()

    async def _try(self) -> None:
        # Only the store sees each byte: a piece may take longer than the stall timeout without any silence.
        pieces = cast("AsyncGenerator[memoryview]", self._store.read(self._file, self._at, self._end))
        async with aclosing(pieces):
            async for piece in pieces:
                await self._take(piece)
        if self._at < self._end:
            raise StoreUnavailableError(self._store.source, f"the bytes of {self._file.name} ended early")

    async def _take(self, piece: memoryview) -> None:
        count = piece.nbytes
        if self._at + count > self._end:
            raise StoreUnavailableError(self._store.source, f"more bytes of {self._file.name} came than it has")
        self._arrived(count)
        self._at += count
        if self._at > self._furthest:
            self._furthest, self._failures = self._at, 0
        await self._sink.take(piece)
        await self._bandwidth.take(count)
        self._last_byte_at = current_time()

    async def _recover(self, error: StoreUnavailableError) -> None:
        """Wait before the next attempt, or give up."""
        await self._sink.flush()
        self._failures += 1
        if self._failures >= self._settings.attempts:
            raise GivenUpError(self._store.source, error, current_time() - self._last_byte_at) from error
        delay_s = backoff_s(self._failures)
        log_event(logging.INFO, "fetch_retried", source=self._store.source, file=self._file.name, delay_s=delay_s)
        await sleep(delay_s)
        if not can_resume(self._store, self._file):
            self._at = 0
            await self._sink.restart()
