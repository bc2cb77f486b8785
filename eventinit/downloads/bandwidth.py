"""How many bytes may come in a second."""

import threading
from time import monotonic
from typing import final

BURST_S = 0.25


@final
class Bandwidth:
    """A bucket that fills at a steady rate and holds a quarter of a second's bytes; all threads draw from it."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int, hurry: threading.Event) -> None:
        """Return when so many bytes more are within the rate, or at once when ``hurry`` is set."""
        if self._bytes_per_s is None:
            return
        with self._lock:
            now = monotonic()
            self._free_at = max(self._free_at, now - BURST_S) + count / self._bytes_per_s
            wait_s = self._free_at - now
        if wait_s > 0:
            hurry.wait(wait_s)
