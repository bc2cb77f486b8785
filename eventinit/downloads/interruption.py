"""How a worker thread is ended while it waits for something."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final


@final
class Interruption(threading.Event):
    """An event for work in a thread: setting it also ends what the thread waits for at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._end: Callable[[], object] | None = None

    def set(self) -> None:
        """Say that nobody needs the result any more."""
        super().set()
        with self._guard:
            if self._end is not None:
                self._end()

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Generator[None]:
        """Have ``end`` called, by another thread and without delay, when the event is set while the block runs.

        Raises:
            InterruptedError: It was set before.
        """
        with self._guard:
            self._end = end
        try:
            if self.is_set():
                raise InterruptedError
            yield
        finally:
            with self._guard:
                self._end = None
