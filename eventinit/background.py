"""Tasks that outlive the block in which they were started."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, final

from anyio import CancelScope, Event, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token


@final
class BackgroundTasks:
    """A task group in a task of its own, so it may be opened in one task and closed in another.

    A task group that spans the user's block would tie its end to the task that began it, which neither a fixture nor
    ``start()`` and ``aclose()`` in two tasks can promise. What runs here must handle its own exceptions.
    """

    def __init__(self) -> None:
        self._group: TaskGroup = create_task_group()
        self._opened = Event()
        self._ended = Event()
        self._closing = False
        self._functions: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = []
        self._signals: list[Event] = []
        self._idle: Event | None = None
        self._host: object = None

    async def open(self) -> None:
        """Start the task that holds the group."""
        self._host = _spawn(self._run)
        try:
            with CancelScope(shield=True):
                await self._opened.wait()
        except BaseException:  # a plain task.cancel(), which goes through shields
            self._close()
            raise

    def is_around(self) -> bool:
        """Return whether the caller runs in one of the tasks, which could not wait for its own end."""
        return _around.get() is self

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a function in the group; this may be called on the event loop outside of any task."""
        self._functions.append((function, name))
        self._wake()

    def ring(self, signal: Event) -> None:
        """Set a signal a moment later.

        Waking a task takes an event loop 1 µs or more. Whoever has news for a thousand tasks wakes the host only, which
        wakes the others afterwards.
        """
        self._signals.append(signal)
        self._wake()

    async def aclose(self) -> None:
        """Cancel what still runs and return when it has ended."""
        self._close()
        with CancelScope(shield=True):
            await self._ended.wait()

    def _close(self) -> None:
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.set()

    async def _run(self) -> None:
        _around.set(self)
        try:
            async with self._group:
                self._opened.set()
                while not self._closing:
                    self._do_what_waits()
                    idle = self._idle = Event()
                    await idle.wait()
                self._group.cancel_scope.cancel()
        finally:
            self._ended.set()

    def _do_what_waits(self) -> None:
        functions, self._functions = self._functions, []
        for function, name in functions:
            self._group.start_soon(function, name=name)
        signals, self._signals = self._signals, []
        for signal in signals:
            signal.set()


_around: ContextVar[BackgroundTasks | None] = ContextVar("eventinit_background", default=None)


def _spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that no task group owns, and return what keeps it alive."""
    if isinstance(current_token().native_token, asyncio.AbstractEventLoop):
        return asyncio.get_running_loop().create_task(function(), name="eventinit background tasks")
    import trio

    return trio.lowlevel.spawn_system_task(function, name="eventinit background tasks")
