"""A file that comes in ranges, several at a time, into its partial file."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import final

from anyio import CancelScope

from eventinit.downloads.fetch_state import FetchState
from eventinit.downloads.job import Job, expected_checksum
from eventinit.downloads.mirrors import Place
from eventinit.downloads.partial_file import PartialFile
from eventinit.downloads.reading import GivenUpError, can_resume
from eventinit.downloads.remote import Checksum
from eventinit.downloads.spans import Span, length, split
from eventinit.downloads.verification import RunningDigest

LEAST_RANGE_BYTES = 16 * 1024 * 1024
MOST_RANGE_BYTES = 4 * LEAST_RANGE_BYTES
"""The larger a range, the fewer requests there are; the smaller, the more evenly the last of them end."""


def fitting_range_bytes(missing: int, workers: int) -> int:
    """Return how large ranges should be, a multiple of the least, so that each worker gets several."""
    each = missing // (3 * workers) // LEAST_RANGE_BYTES * LEAST_RANGE_BYTES
    return max(LEAST_RANGE_BYTES, min(each, MOST_RANGE_BYTES))


@final
class LargeFile:
    """One file on its way, with the requests for its ranges of at most so many bytes.

    Attributes:
        failure: Why its store has been given up, if it has.
        refetched: Whether it came out wrong once already.
        waiting: How many of its ranges are not fetched yet.
    """

    def __init__(self, job: Job, file: PartialFile, place: Place, range_bytes: int, *, full: bool) -> None:
        self.job = job
        self.partial = file
        self.place = place
        self.failure: GivenUpError | None = None
        self.refetched = False
        self.waiting = 0
        self._digest: RunningDigest | None = None
        self._range_bytes = range_bytes
        self._full = full
        self._requests: set[CancelScope] = set()

    @property
    def expected(self) -> Checksum | None:
        """The checksum that it must have, if a store knows one."""
        return expected_checksum(self.job.file, self.place.file)

    def plan(self) -> list[Span]:
        """Return the ranges to fetch from the store at hand; a store that cannot read ranges gives all in one."""
        self.failure = None
        expected = self.expected
        algorithm = expected.algorithm if expected else "sha256"
        self._digest = RunningDigest(self.partial.path, algorithm) if expected or self._full else None
        missing = self.partial.missing()
        spans = list(split(missing, self._range_bytes)) if can_resume(self.place.store, self.place.file) else missing
        self.waiting = len(spans)
        return spans

    def present(self) -> int:
        """Return how many bytes are there."""
        return self.job.file.size - length(self.partial.missing())

    def hash_beginning(self, hurry: threading.Event) -> None:
        """Hash what is there without a gap, if the file gets a checksum at all: little is left to do in the end."""
        if self._digest:
            self._digest.follow(self._beginning, hurry)

    def checksum(self, hurry: threading.Event) -> Checksum | None:
        """Return the checksum of the file, which is all there, to compare or to know it by; or None."""
        return self._digest.finish(self.job.file.size, hurry) if self._digest else None

    def _beginning(self) -> int:
        missing = self.partial.missing()
        return missing[0][0] if missing else self.job.file.size

    @contextmanager
    def request(self) -> Generator[None]:
        """Let a request run in the block until the store of the file is given up."""
        with CancelScope() as scope:
            self._requests.add(scope)
            try:
                yield
            except GivenUpError as error:
                self._requests.discard(scope)
                self.give_up(error)
            finally:
                self._requests.discard(scope)

    def give_up(self, failure: GivenUpError) -> None:
        """End the file's other requests too, since they ask the same store."""
        self.failure = self.failure or failure
        for scope in self._requests:
            scope.cancel()


@final
class RangeSink:
    """Writes the bytes of a range to where they belong in the partial file."""

    def __init__(self, large: LargeFile, start: int, state: FetchState) -> None:
        self._large = large
        self._at = start
        self._state = state

    def take(self, piece: memoryview) -> None:
        """Write and count the next bytes."""
        self._large.partial.write(self._at, piece)
        self._at += piece.nbytes
        self._state.arrived(self._large.job, piece.nbytes)

    def restart(self) -> None:
        """Begin with the whole file anew."""
        self._at = 0
        self._large.partial.restart(self._large.place.file)
        self._state.recount(self._large.job, 0)
