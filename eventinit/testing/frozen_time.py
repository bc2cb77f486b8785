"""Time that stands still."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import final

from eventinit.clock import set_clock


@final
class FrozenClock:
    """A clock that moves only when it is told to."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._at

    def monotonic(self) -> float:
        """Return the same, which serves as well."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: It would go back.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds:g} s; give seconds of 0 or more")
        self._at += seconds


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
