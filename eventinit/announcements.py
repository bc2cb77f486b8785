"""What a bus has to tell of itself."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import final

from anyio import Event as Signal

from eventinit.background import BackgroundTasks
from eventinit.errors import EventInitError
from eventinit.event import Event
from eventinit.logs import log_event


@final
class Announcements:
    """Emits events of the bus's own, each in a task of its own, as soon as there is a place for tasks.

    Args:
        emit: How an event is emitted.
    """

    def __init__(self, emit: Callable[[Event], Awaitable[object]]) -> None:
        self._emit = emit
        self._waiting: list[Event] = []
        self._under_way = 0
        self._idle: Signal | None = None
        self._background: BackgroundTasks | None = None

    def add(self, event: Event) -> None:
        """Emit an event soon."""
        self._waiting.append(event)
        self._start()

    def begin(self, background: BackgroundTasks | None) -> None:
        """Run the tasks here from now on; None: keep what comes."""
        self._background = background
        self._under_way = 0
        self._start()

    @property
    def busy(self) -> bool:
        """Whether an event is under way."""
        return self._under_way > 0

    async def drained(self) -> None:
        """Return when none is."""
        while self.busy:
            if self._idle is None:
                self._idle = Signal()
            await self._idle.wait()

    def _start(self) -> None:
        while self._background is not None and self._waiting:
            event = self._waiting.pop(0)
            self._under_way += 1
            self._background.start_soon(partial(self._tell, event), f"eventinit {type(event).__name__}")

    async def _tell(self, event: Event) -> None:
        try:
            await self._emit(event)
        except EventInitError as error:
            log_event(logging.ERROR, "handler_failed", error, event=type(event).__name__)
        finally:
            self._under_way -= 1
            idle, self._idle = self._idle, None
            if idle is not None:
                idle.set()
