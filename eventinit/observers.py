"""Observers: each in a lane of its own, where it can be slow, fail or hang without anybody noticing."""

import inspect
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, final

from anyio import CancelScope, CapacityLimiter, sleep
from anyio import Event as Signal

from eventinit import clock
from eventinit.cancellation import is_failure
from eventinit.event import Event, ObserverSetAside
from eventinit.home_loop import HomeLoop
from eventinit.lane import Filter, QueueLane
from eventinit.logs import log_event
from eventinit.subscription import SubscriberStatus, check_callable, is_async, name_of
from eventinit.threads import GRACE_S, run_in_thread

MAX_FAILURES_IN_A_ROW = 3


@final
class ObserverSubscription(QueueLane):
    """An observer's place on a bus: a bounded queue, and the task that empties it while the bus is open.

    Attributes:
        served: Whether its task runs.
        failures_in_a_row: How many events the observer has just failed on; after 3 it is set aside.
    """

    __slots__ = (
        "_call",
        "_idle",
        "_is_async",
        "_last_duration_s",
        "_limiter",
        "_ring_soon",
        "_scope",
        "_set_aside",
        "_since",
        "_start_soon",
        "_tell",
        "failures_in_a_row",
        "served",
    )

    def __init__(
        self,
        event_type: type[Event],
        call: Callable[[Any], Any],
        end: Callable[[Any], None],
        *,
        where: Filter | None,
        name: str | None,
        home: HomeLoop,
        ring: Callable[[Signal], None],
        size: int,
        announce: Callable[[Event], None],
        start_soon: Callable[[Callable[[], Coroutine[Any, Any, None]], str], None],
    ) -> None:
        check_callable(call)
        super().__init__(event_type, name or name_of(call), end, where, home=home, size=size)
        self._ring_soon = ring
        self._call = call
        self._tell = announce
        self._start_soon = start_soon
        self._is_async = is_async(call)
        self._scope: CancelScope | None = None
        self._since: float | None = None
        self._last_duration_s: float | None = None
        self._idle: Signal | None = None
        self._limiter: CapacityLimiter | None = None
        self._set_aside = False
        self.served = False
        self.failures_in_a_row = 0

    async def run(self) -> None:
        """Deliver what is queued, and what comes, until cancelled or set aside."""
        try:
            with CancelScope() as self._scope:
                while self.live:
                    while self.live and self._queue:
                        self._since, event = self._queue.popleft()
                        await self._deliver(event)
                        self._since = None
                    self._went_idle()
                    if self.live:
                        await self.wait_for_news()
        finally:
            self._since = self._scope = None
            self.served = False
            self._went_idle()

    def cancel(self) -> None:
        """End the subscription; a call that is under way has five seconds to end."""
        super().cancel()
        self._home.call_soon(self._end_soon)

    @property
    def busy(self) -> bool:
        """Whether something that was queued has not been delivered, and will be."""
        if not self.served:
            return False
        return self.live and (bool(self._queue) or self._since is not None)

    async def drained(self) -> None:
        """Return when everything queued has been delivered."""
        while self.busy:
            if self._idle is None:
                self._idle = Signal()
            await self._idle.wait()

    def status(self) -> SubscriberStatus:
        """Return how the observer is doing; one that was set aside is listed until it is cancelled."""
        since = self._since  # once: the event loop may go on while another thread asks
        return SubscriberStatus(
            self.name,
            self.event_type,
            "observer",
            state="set aside" if self._set_aside else "live",
            calls=self.calls,
            failures=self.failures,
            last_duration_s=self._last_duration_s,
            queued=self.queued,
            dropped=self.dropped,
            lag_s=self.lag_s() if since is None else clock.monotonic() - since,
        )

    def forget_loop(self) -> None:
        """Begin anew, since the event loop of its task is over."""
        super().forget_loop()
        self._idle = self._limiter = self._since = self._scope = None
        self.served = False

    def note_failure(self, event: Event, error: BaseException) -> None:
        """Count and log a failure; the third in a row sets the observer aside."""
        super().note_failure(event, error)
        self.failures_in_a_row += 1
        if self.failures_in_a_row < MAX_FAILURES_IN_A_ROW or self._set_aside:
            return
        self._set_aside, self.live = True, False
        self._queue.clear()
        self._end_soon()
        log_event(logging.ERROR, "observer_set_aside", observer=self.name, failures=self.failures_in_a_row)
        self._tell(
            ObserverSetAside(
                observer=self.name,
                event_type=self.event_type.__name__,
                failures=self.failures_in_a_row,
                error=type(error).__name__,
            )
        )

    def _end_soon(self) -> None:
        self._ring()
        self._went_idle()
        if self._scope is not None and self._since is not None:
            self._start_soon(partial(_cut_off, self._scope), f"eventinit end of {self.name}")

    async def _deliver(self, event: Event) -> None:
        began = clock.monotonic()
        self.calls += 1
        try:
            await self._call_observer(event)
            self.failures_in_a_row = 0
        except BaseException as error:
            if not is_failure(error):
                raise
            self.note_failure(event, error)
        finally:
            self._last_duration_s = clock.monotonic() - began

    async def _call_observer(self, event: Event) -> None:
        if self._is_async:
            await self._call(event)
            return
        self._limiter = self._limiter or CapacityLimiter(1)
        work = partial(self._call, event)
        result = await run_in_thread(work, name=self.name, patience_s=0, limiter=self._limiter)
        if inspect.isawaitable(result):
            await result

    def _announce(self, news: Signal) -> None:
        self._ring_soon(news)

    def _went_idle(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.set()


async def _cut_off(scope: CancelScope) -> None:
    """End a call that nobody wants any more, if it does not end by itself."""
    await sleep(GRACE_S)
    scope.cancel()
