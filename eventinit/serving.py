"""The time in which a bus is open and serves its observers."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, final

from anyio import CancelScope, Lock, move_on_after
from anyio import Event as Signal

from eventinit.announcements import Announcements
from eventinit.attachment import drain
from eventinit.background import BackgroundTasks
from eventinit.errors import BusError
from eventinit.event import Event
from eventinit.home_loop import HomeLoop
from eventinit.joining import in_child_task
from eventinit.lane import Lane, QueueLane
from eventinit.observers import ObserverSubscription
from eventinit.registry import Registry
from eventinit.streams import StreamLane


@final
class Serving:
    """Runs a task for each observer from the first opening to the last closing.

    Attributes:
        announcements: What the bus itself has to emit.

    Args:
        registry: Where the observers are.
        home: The event loop of the bus.
        drain_timeout_s: How long closing waits for observers to take what is queued.
        emit: How the bus emits an event of its own.
    """

    def __init__(
        self,
        registry: Registry,
        home: HomeLoop,
        drain_timeout_s: float,
        emit: Callable[[Event], Awaitable[object]],
    ) -> None:
        self._registry = registry
        self._home = home
        self._drain_timeout_s = drain_timeout_s
        self.announcements = Announcements(emit)
        self._background: BackgroundTasks | None = None
        self._opened = 0
        self._gate: Lock | None = None

    @property
    def is_open(self) -> bool:
        """Whether observers are being served."""
        return self._opened > 0

    async def open(self) -> None:
        """Begin to serve, unless it has begun."""
        self._home.enter()
        async with self._lock():
            self._home.enter()  # a close() that was under way has left it
            if self._background is None:
                background = BackgroundTasks()
                await background.open()
                self._background = background
                self.announcements.begin(background)
                for lane in self._registry.lanes():
                    self._serve(lane, background)
            self._opened += 1

    async def close(self) -> None:
        """Close once; the last close drains the observers and ends them, also when it is cancelled.

        Raises:
            BusError: It is not open.
        """
        self._home.enter()
        await in_child_task(self._close)

    def serve(self, lane: ObserverSubscription) -> None:
        """Start the task of a new observer, if the bus is open; from any thread."""
        if self._background is not None:
            self._home.call_soon(partial(self._serve, lane, self._background))

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a function in a task that ends with the last closing, if the bus is open."""
        if self._background is not None:
            self._background.start_soon(function, name)

    def ring(self, signal: Signal) -> None:
        """Set a signal soon, so that whoever rings does not have to wait for the one who is woken."""
        if self._background is not None:
            self._background.ring(signal)

    def forget_loop(self) -> None:
        """Begin anew, since the event loop is over on which the bus was open."""
        self._background = self._gate = None
        self._opened = 0
        self._let_go()

    def _lock(self) -> Lock:
        self._gate = self._gate or Lock()
        return self._gate

    async def _close(self) -> None:
        # An open() that comes while the last close drains waits, since an observer has one task at a time.
        with CancelScope(shield=True):
            async with self._lock():
                if self._background is None:
                    raise BusError("the bus is not open, or was closed before; close it as often as it was opened")
                if self._opened == 1 and self._background.is_around():
                    raise BusError(
                        "an observer cannot close the bus that runs it;"
                        " tell whoever opened the bus, as by setting an event"
                    )
                self._opened -= 1
                if self._opened == 0:
                    await self._stop(self._background)

    async def _stop(self, background: BackgroundTasks) -> None:
        with move_on_after(self._drain_timeout_s):
            await drain([*self._registry.lanes(), self.announcements])
        self._background = None
        for lane in self._registry.lanes():
            if isinstance(lane, StreamLane):
                lane.cancel()
        await background.aclose()
        self._let_go()
        self._home.leave()

    def _let_go(self) -> None:
        """Forget whatever belongs to the event loop."""
        self.announcements.begin(None)
        for lane in self._registry.lanes():
            if isinstance(lane, QueueLane):
                lane.forget_loop()

    def _serve(self, lane: Lane, background: BackgroundTasks) -> None:
        # A call from another thread may come when the bus has been closed again, or after open() has seen the lane.
        if background is self._background and isinstance(lane, ObserverSubscription) and lane.live and not lane.served:
            lane.served = True
            background.start_soon(lane.run, f"eventinit observer {lane.name}")
