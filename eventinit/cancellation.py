"""Tell a cancellation that somebody asked for from one that got loose."""

import asyncio


def is_stray(error: BaseException) -> bool:
    """Return whether an error is a cancellation that nobody asked of the task that it is raised in.

    On asyncio whoever awaits a task that was cancelled gets a ``CancelledError`` himself, and is taken for cancelled.
    On trio it cannot happen.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0
