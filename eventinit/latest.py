"""The newest of many values, for a reader that must not be told more often than it can bear."""

from typing import Generic, TypeVar, final

from anyio import Event, move_on_after

INTERVAL_S = 0.1

T = TypeVar("T")


@final
class Latest(Generic[T]):
    """Gives the newest value once an interval, and the last in any case; what it replaces is dropped."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._value: T | None = None
        self._news = Event()
        self._over = Event()
        self._pause_s = 0.0

    def put(self, value: T) -> None:
        """Replace the value that nobody has taken yet."""
        self._value = value
        self._news.set()

    def end(self) -> None:
        """Let the reader know that there will be no more."""
        self._over.set()
        self._news.set()

    async def get(self) -> T | None:
        """Return the newest value once there is one, or None when it is over and the last has been taken."""
        with move_on_after(self._pause_s):
            await self._over.wait()
        self._pause_s = self._interval_s
        await self._news.wait()
        if not self._over.is_set():
            self._news = Event()
        value, self._value = self._value, None
        return value
