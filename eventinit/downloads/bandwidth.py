"""How many bytes may come in a second."""

from typing import final

from anyio import current_time, sleep

BURST_S = 0.25


@final
class Bandwidth:
    """A bucket that fills at a steady rate and holds a quarter of a second's bytes; all requests draw from it."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Return when so many bytes more are within the rate."""
        if self._bytes_per_s is None:
            return
        now = current_time()
        self._free_at = max(self._free_at, now - BURST_S) + count / self._bytes_per_s
        if self._free_at > now:
            await sleep(self._free_at - now)
