"""Something that is done in advance for a node that may turn out not to be needed."""

import logging
from collections.abc import Awaitable, Callable
from typing import final

from anyio import CancelScope, Event

from eventinit.errors import EventInitError
from eventinit.joining import typed_errors
from eventinit.logs import log_event
from eventinit.ports import DownloadMode


@final
class Attempt:
    """A fetch, or with the mode ``NONE`` a warm-up, whose failure, of any kind, counts only when it is asked for."""

    def __init__(self, mode: DownloadMode) -> None:
        self._mode = mode
        self._scope = CancelScope()
        self._ended = Event()
        self._error: EventInitError | None = None

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it until it is done or cancelled."""
        try:
            with typed_errors(), self._scope:
                await work()
        except EventInitError as error:
            log_event(logging.WARNING, "early_work_failed", problem=str(error))
            self._error = error
        finally:
            self._ended.set()

    def cancel(self) -> None:
        """End it; ``run`` returns when it has ended."""
        self._scope.cancel()

    async def brings(self, mode: DownloadMode) -> bool:
        """Return whether what is needed is there, once the attempt is over; one at anything else is ended first.

        Raises:
            EventInitError: It was the right attempt, and failed.
        """
        is_right = self._mode == mode
        if not is_right and self._mode != "NONE":
            self.cancel()
        await self._ended.wait()
        if is_right and self._error is not None:
            raise self._error
        return is_right
