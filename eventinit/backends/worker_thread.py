"""Blocking work that must come to its end even when nobody waits for it any more."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

log = logging.getLogger(__name__)
T = TypeVar("T")


async def run_to_its_end(work: Callable[[], T], hurry: threading.Event, patience_s: float) -> T:
    """Return what the work returns from a worker thread; a cancelled caller hurries it and waits for its end.

    ``hurry`` tells the work that its caller was cancelled. The caller waits ``patience_s`` seconds for it at most;
    then it leaves the thread alone, which should take back by itself what it has made.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = anyio.Event()
    patience = anyio.CancelScope(shield=True)

    async def run() -> None:
        with patience:
            try:
                results.append(await anyio.to_thread.run_sync(work, abandon_on_cancel=True))
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                errors.append(error)
        if patience.cancelled_caught:
            log.error("eventinit.thread_abandoned", extra={"seconds": patience_s})
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            await done.wait()
        except BaseException:
            hurry.set()
            patience.deadline = anyio.current_time() + patience_s
            raise
    if errors:
        raise errors[0]
    return results[0]
