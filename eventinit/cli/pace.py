"""How often a terminal is told of something that goes on all the time."""

import time
from typing import final


@final
class Pace:
    """Says when the next line is due: so many seconds after the last one, and after the beginning."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether it is time for a line, which then counts as written."""
        now = time.monotonic()
        if now - self._last < self._interval_s:
            return False
        self._last = now
        return True
