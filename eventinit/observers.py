"""Observers: each in a lane of its own, where it can be slow, fail or hang without anybody noticing."""

import inspect
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import CapacityLimiter
from anyio import Event as Signal

from eventinit.event import Event
from eventinit.logs import log_event
from eventinit.subscription import Subscription, check_callable, is_async, name_of
from eventinit.threads import run_in_thread

MAX_FAILURES_IN_A_ROW = 3


class ObserverSubscription(Subscription):
    """An observer's place on a bus: a bounded queue, and the task that empties it while the bus is open.

    Attributes:
        dropped: How many events were lost because the queue was full.
        failures: How many events in a row the observer has just failed on; after 3 it is set aside.
    """

    __slots__ = ("_busy", "_call", "_idle", "_is_async", "_limiter", "_queue", "_wake", "dropped", "failures", "where")

    def __init__(
        self,
        event_type: type[Event],
        call: Callable[[Any], Any],
        end: Callable[[Any], None],
        *,
        queue_size: int,
        where: Callable[[Any], bool] | None,
    ) -> None:
        check_callable(call)
        super().__init__(event_type, name_of(call), end)
        self._call = call
        self._is_async = is_async(call)
        self._queue: deque[Event] = deque(maxlen=queue_size)
        self._busy = False
        self._wake: Signal | None = None
        self._idle: Signal | None = None
        self._limiter: CapacityLimiter | None = None
        self.where = where
        self.dropped = 0
        self.failures = 0

    def wants(self, event: Event) -> bool:
        """Return whether the observer gets an event; a filter that fails counts as a failure of the observer."""
        try:
            return self.where is None or bool(self.where(event))
        except Exception as error:  # noqa: BLE001
            self._count_failure(event, error)
            return False

    def put(self, event: Event) -> None:
        """Queue an event; a full queue loses its oldest."""
        if not self.live:
            return
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(event)
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Deliver what is queued, and what comes, until cancelled or set aside."""
        try:
            while self.live:
                while self._queue and self.live:
                    self._busy = True
                    await self._deliver(self._queue.popleft())
                self._busy = False
                if self._idle is not None:
                    self._idle.set()
                self._wake = Signal()
                await self._wake.wait()
        finally:
            self._busy = False
            self._wake = None

    async def drained(self) -> None:
        """Return when everything queued has been delivered."""
        while self.live and (self._queue or self._busy):
            self._idle = Signal()
            await self._idle.wait()

    async def _deliver(self, event: Event) -> None:
        try:
            if self._is_async:
                await self._call(event)
            else:
                self._limiter = self._limiter or CapacityLimiter(1)
                work = partial(self._call, event)
                result = await run_in_thread(work, name=self.name, patience_s=0, limiter=self._limiter)
                if inspect.isawaitable(result):
                    await result
            self.failures = 0
        except Exception as error:  # noqa: BLE001
            self._count_failure(event, error)

    def _count_failure(self, event: Event, error: Exception) -> None:
        self.failures += 1
        fields = {"observer": self.name, "event": type(event).__name__, "failures": self.failures}
        log_event(logging.ERROR, "observer_failed", error, **fields)
        if self.failures >= MAX_FAILURES_IN_A_ROW:
            log_event(logging.ERROR, "observer_set_aside", **fields)
            self.cancel()
            if self._idle is not None:
                self._idle.set()
