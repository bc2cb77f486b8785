"""What time it is, for whatever is stamped or measured; ``eventinit.testing.frozen_time`` makes it stand still."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time twice over: the date, and a time that never jumps."""

    def now(self) -> float:
        """Return the seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from no particular zero."""
        ...


class SystemClock:
    """The clock of the machine."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


_current: Clock = SystemClock()


def now() -> float:
    """Return the seconds since the epoch."""
    return _current.now()


def monotonic() -> float:
    """Return seconds that only ever grow."""
    return _current.monotonic()


def set_clock(clock: Clock) -> Clock:
    """Make this the clock of the process, and return the one before."""
    global _current
    before, _current = _current, clock
    return before
