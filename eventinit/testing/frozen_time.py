"""Time that stands still."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import final

from eventinit.clock import set_clock

_EXACT = 2**20


@final
class FrozenClock:
    """A clock that moves only when it is told to."""

    def __init__(self, at: float) -> None:
        self._at = at
        # Goes on from the real one, for what is measured across the block; in whole 2**-20 s, so that sums are exact.
        self._monotonic = int(time.monotonic() * _EXACT) / _EXACT

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._at

    def monotonic(self) -> float:
        """Return seconds that only grow when time is advanced."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: It would go back.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds:g} s; give seconds of 0 or more")
        self._at += seconds
        self._monotonic += seconds


@contextmanager
def frozen_time(at: float | None = None) -> Generator[FrozenClock]:
    """Stop the clock of the process for the block: what eventinit stamps and measures shows only what you let pass.

    That is the time of events and changes, durations, timelines, and the lag of observers. Timeouts go by the event
    loop's clock, which goes on; for these run the test on trio's ``MockClock``.

    Args:
        at: The time at which it stands, in seconds since the epoch; by default now.
    """
    clock = FrozenClock(time.time() if at is None else at)
    before = set_clock(clock)
    try:
        yield clock
    finally:
        set_clock(before)
