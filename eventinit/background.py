"""Tasks that outlive the block in which they were started."""

import asyncio
from collections.abc import Callable, Coroutine
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
        self._closing = Event()
        self._ended = Event()
        self._host: object = None

    async def open(self) -> None:
        """Start the task that holds the group."""
        self._host = _spawn(self._run)
        try:
            with CancelScope(shield=True):
                await self._opened.wait()
        except BaseException:  # a plain task.cancel(), which goes through shields
            self._closing.set()
            raise

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a function in the group."""
        self._group.start_soon(function, name=name)

    async def aclose(self) -> None:
        """Cancel what still runs and return when it has ended."""
        self._closing.set()
        with CancelScope(shield=True):
            await self._ended.wait()

    async def _run(self) -> None:
        try:
            async with self._group:
                self._opened.set()
                await self._closing.wait()
                self._group.cancel_scope.cancel()
        finally:
            self._ended.set()


def _spawn(function: Callable[[], Coroutine[Any, Any, None]]) -> object:
    """Start a task that no task group owns, and return what keeps it alive."""
    if isinstance(current_token().native_token, asyncio.AbstractEventLoop):
        return asyncio.get_running_loop().create_task(function(), name="eventinit background tasks")
    import trio

    return trio.lowlevel.spawn_system_task(function, name="eventinit background tasks")
