"""Run a command's work until it ends or a signal comes."""

import signal
from collections.abc import Awaitable, Callable

import anyio
from anyio import CancelScope, create_task_group, open_signal_receiver
from anyio.abc import TaskStatus

from eventinit.joining import one_error

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_until_signal(work: Callable[[], Awaitable[None]], say: Callable[[str], object]) -> int:
    """Run the work and return 0; the first signal cancels it, which then cleans up after itself, and gives 128 + n."""
    return anyio.run(_run, work, say)


async def _run(work: Callable[[], Awaitable[None]], say: Callable[[str], object]) -> int:
    exit_status = 0
    scope = CancelScope()

    async def watch(*, task_status: TaskStatus[None]) -> None:
        nonlocal exit_status
        with open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                exit_status = exit_status or 128 + number
                say(f"\n{number.name}: cleaning up, which takes a few seconds")
                scope.cancel()

    with one_error():
        async with create_task_group() as group:
            await group.start(watch)
            with scope:
                await work()
            group.cancel_scope.cancel()
    return exit_status
