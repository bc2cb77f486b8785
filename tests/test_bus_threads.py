"""Handlers in worker threads, and plain ones that hold up the event loop."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio
import pytest

from eventinit import EventBus, LLMConfig, NodeInitializationContext
from eventinit.errors import ContextSealedError
from eventinit.events import PreDownload

pytestmark = pytest.mark.anyio


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test."""
    return EventBus()


@pytest.fixture
def event() -> PreDownload:
    """Give an event with a context."""
    return PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m")))


@dataclass
class HeldUp:
    """A handler that begins, waits until it is let go, and then writes to the context."""

    begun: anyio.Event = field(default_factory=anyio.Event)
    go: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def __call__(self, event: PreDownload) -> None:
        event.context.custom_data["before"] = 1
        anyio.from_thread.run_sync(self.begun.set)
        assert self.go.wait(30)
        try:
            event.context.custom_data["after"] = 1
        except Exception as error:
            self.error = error
            raise
        finally:
            self.over.set()


@pytest.fixture
def held_up() -> Iterator[HeldUp]:
    """Give a handler whose thread ends with the test."""
    handler = HeldUp()
    yield handler
    handler.go.set()
    assert handler.over.wait(30) or not handler.begun.is_set()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the grace period, which is no setting."""
    monkeypatch.setattr("eventinit.handler_call.GRACE_S", 0.05)


async def cancel_while_it_runs(bus: EventBus, event: PreDownload, handler: HeldUp) -> None:
    """Emit and cancel the emit as soon as the handler's thread runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, event)
        with anyio.fail_after(30):
            await handler.begun.wait()
        tasks.cancel_scope.cancel()


async def test_a_thread_abandoned_after_a_cancellation_loses_the_context(
    bus: EventBus,
    event: PreDownload,
    held_up: HeldUp,
    short_grace: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus.on(PreDownload, held_up, thread=True, name="held_up")
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        await cancel_while_it_runs(bus, event, held_up)
    assert not held_up.over.is_set()
    assert "held_up" in caplog.text
    held_up.go.set()
    assert await anyio.to_thread.run_sync(held_up.over.wait, 30)
    assert isinstance(held_up.error, ContextSealedError)
    assert "held_up" in str(held_up.error)
    assert event.context.custom_data == {"before": 1}


async def test_a_thread_that_ends_within_the_grace_period_keeps_the_context(
    bus: EventBus, event: PreDownload, held_up: HeldUp
) -> None:
    bus.on(PreDownload, held_up, thread=True)

    def let_go_later() -> None:
        held_up.go.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, event)
        with anyio.fail_after(30):
            await held_up.begun.wait()
        tasks.cancel_scope.cancel()
        threading.Timer(0.05, let_go_later).start()
    assert held_up.error is None
    assert event.context.custom_data == {"before": 1, "after": 1}


async def test_a_later_call_of_the_same_handler_may_write_again(
    bus: EventBus, event: PreDownload, held_up: HeldUp, short_grace: None
) -> None:
    """Only the abandoned call loses its access, not the handler."""
    subscription = bus.on(PreDownload, held_up, thread=True, name="handler")
    await cancel_while_it_runs(bus, event, held_up)
    subscription.cancel()

    def write(event: PreDownload) -> None:
        event.context.custom_data["again"] = 1

    bus.on(PreDownload, write, thread=True, name="handler")
    await bus.emit(event)
    assert event.context.custom_data == {"before": 1, "again": 1}


async def test_the_event_loop_runs_on_while_a_thread_handler_blocks(
    bus: EventBus, event: PreDownload, held_up: HeldUp
) -> None:
    bus.on(PreDownload, held_up, thread=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, event)
        with anyio.fail_after(30):
            await held_up.begun.wait()
        held_up.go.set()
    assert event.context.custom_data == {"before": 1, "after": 1}


@pytest.mark.parametrize("priority", [0, 1])
async def test_an_inline_handler_that_blocks_the_loop_is_named_in_a_warning(
    bus: EventBus, event: PreDownload, caplog: pytest.LogCaptureFixture, priority: int
) -> None:
    def slow(_event: PreDownload) -> None:
        time.sleep(0.15)

    def quick(_event: PreDownload) -> None:
        return

    bus.on(PreDownload, slow)
    bus.on(PreDownload, quick, priority=priority)
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        outcome = await bus.emit(event)
    warnings = [record.getMessage() for record in caplog.records if "slow" in record.getMessage()]
    assert len(warnings) == 1
    assert "PreDownload" in warnings[0]
    assert dict(outcome.durations)["slow"] >= 0.15
    assert set(dict(outcome.durations)) == {"slow", "quick"}


async def test_a_slow_handler_in_a_thread_is_not_warned_about(
    bus: EventBus, event: PreDownload, caplog: pytest.LogCaptureFixture
) -> None:
    bus.on(PreDownload, lambda _event: time.sleep(0.15), thread=True, name="patient")
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        await bus.emit(event)
    assert "patient" not in caplog.text
