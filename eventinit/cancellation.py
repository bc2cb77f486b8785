"""Tell what failed from what has to go on: a cancellation that somebody asked for, or an interrupt."""

import asyncio


def is_failure(error: BaseException) -> bool:
    """Return whether an error says that something failed, so that it may be kept, attached or logged.

    ``SystemExit`` is one: let go on, it would stop asyncio's event loop from within a task, before anything is undone.
    """
    return isinstance(error, Exception | SystemExit) or is_stray(error)


def is_stray(error: BaseException) -> bool:
    """Return whether an error is a cancellation that nobody asked of the task that it is raised in.

    On asyncio whoever awaits a task that was cancelled gets a ``CancelledError`` himself, and is taken for cancelled.
    On trio it cannot happen.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0
