"""Run what is written for asyncio in a worker thread, where it cannot hold up the program's event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from eventinit.downloads.interruption import Interruption

T = TypeVar("T")


def run_on_own_loop(work: Callable[[], Awaitable[T]], hurry: Interruption) -> T:
    """Return what ``work`` returns, on an event loop of this thread's own; it is cancelled when ``hurry`` is set.

    Raises:
        InterruptedError: It was cancelled.
    """

    async def run() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        with hurry.ending(lambda: loop.call_soon_threadsafe(task.cancel)):
            return await work()

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise InterruptedError from None
