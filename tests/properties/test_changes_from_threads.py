"""Subscribing and cancelling in threads, while events are emitted all the time."""

import sys
from collections import Counter
from collections.abc import Iterator

import anyio
import pytest
from anyio import from_thread, to_thread
from anyio.lowlevel import checkpoint

from eventinit import EventBus
from tests.properties.handlers_strategy import LoudQuestion, Question
from tests.properties.profile import FACTOR

THREADS = 3
ROUNDS = 150 * FACTOR


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.anyio
async def test_what_a_thread_subscribes_is_called_from_then_on_until_the_thread_cancels_it() -> None:
    bus, calls, wrong = EventBus(), Counter[str](), list[str]()

    def come_and_go(number: int) -> None:
        for turn in range(ROUNDS):
            name = f"{number}.{turn}"
            kind = (Question, LoudQuestion)[turn % 2]
            subscription = bus.on(kind, lambda _event, name=name: calls.update([name]), priority=turn % 3)
            from_thread.run(bus.emit, LoudQuestion())
            if calls[name] == 0:
                wrong.append(f"{name} was subscribed and is not called")
            subscription.cancel()
            before = from_thread.run_sync(calls.__getitem__, name)
            from_thread.run(bus.emit, LoudQuestion())
            if calls[name] != before:
                wrong.append(f"{name} was cancelled and is called")

    async def emit_all_the_time() -> None:
        while True:
            await bus.emit(LoudQuestion())
            await checkpoint()

    async with anyio.create_task_group() as background:
        background.start_soon(emit_all_the_time)
        async with anyio.create_task_group() as threads:
            for number in range(THREADS):
                threads.start_soon(to_thread.run_sync, come_and_go, number)
        background.cancel_scope.cancel()
    assert wrong == []
