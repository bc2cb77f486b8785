"""A cancellation that nobody asked of the emitter, which happens on asyncio only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, initialize_node
from eventinit.errors import HandlerError, UnexpectedError
from eventinit.events import PhaseFailed, PreDownload
from eventinit.testing import FakeCluster, Fakes

pytestmark = pytest.mark.asyncio


class Ping(Event):
    n: int = 0


async def await_what_somebody_else_cancelled(_event: Event) -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


async def test_a_stray_cancellation_is_a_failure_of_its_handler_and_the_others_run(bus: EventBus) -> None:
    ran: list[str] = []
    bus.on(Ping, await_what_somebody_else_cancelled)
    bus.on(Ping, lambda _event: ran.append("after"))
    with pytest.raises(HandlerError, match="else_cancelled failed on Ping: CancelledError") as caught:
        await bus.emit(Ping())
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert ran == ["after"]
    await asyncio.sleep(0)  # the emitter is not cancelled


async def test_a_stray_cancellation_can_be_logged_like_any_failure(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.on(Ping, await_what_somebody_else_cancelled, on_error="log")
    with caplog.at_level(logging.ERROR, logger="eventinit"):
        outcome = await bus.emit(Ping())
    assert [type(error.__cause__) for error in outcome.errors] == [asyncio.CancelledError]
    assert "await_what_somebody_else_cancelled" in caplog.text


async def test_a_stray_cancellation_fails_a_handler_with_options_and_an_audited_event_too(bus: EventBus) -> None:
    ran: list[str] = []
    bus.on(PreDownload, await_what_somebody_else_cancelled, timeout=30)
    bus.on(PreDownload, lambda _event: ran.append("after"))
    with pytest.raises(HandlerError, match="CancelledError"):
        await bus.emit(PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m"))))
    assert ran == ["after"]


async def emit_in_a_task(emit: Awaitable[object], hanging: asyncio.Event) -> None:
    task = asyncio.ensure_future(emit)
    await hanging.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
        raise AssertionError("the task was not cancelled")
    assert task.cancelled()


async def emit_in_a_scope(emit: Awaitable[object], hanging: asyncio.Event) -> None:
    async def cancel() -> None:
        await hanging.wait()
        scope.cancel()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await emit
    assert scope.cancelled_caught


async def emit_in_time(emit: Awaitable[object], hanging: asyncio.Event) -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.01):
            await emit

    with pytest.raises(TimeoutError):
        await wait()


async def emit_in_a_task_group(emit: Awaitable[object], hanging: asyncio.Event) -> None:
    async def fail() -> None:
        await hanging.wait()
        raise KeyError("a sibling fails")

    async def wait() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            await emit

    with pytest.raises(ExceptionGroup) as caught:
        await wait()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


@pytest.mark.parametrize("is_audited", [False, True])
@pytest.mark.parametrize("cancelled", [emit_in_a_task, emit_in_a_scope, emit_in_time, emit_in_a_task_group])
async def test_a_cancellation_of_the_emitter_goes_through(
    bus: EventBus, cancelled: Callable[[Awaitable[object], asyncio.Event], Awaitable[None]], is_audited: bool
) -> None:
    hanging, ran = asyncio.Event(), list[str]()

    @bus.on(Event)
    async def hang(_event: Event) -> None:
        hanging.set()
        await asyncio.Event().wait()

    bus.on(Event, lambda _event: ran.append("after"))
    event = PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m"))) if is_audited else Ping()
    async with asyncio.timeout(10):
        await cancelled(bus.emit(event), hanging)
    assert ran == []


async def test_a_cancellation_of_the_emitter_wins_over_a_stray_one_before_it(bus: EventBus) -> None:
    hanging = asyncio.Event()

    @bus.on(Ping)
    async def hang(_event: Ping) -> None:
        hanging.set()
        await asyncio.Event().wait()

    bus.on(Ping, await_what_somebody_else_cancelled, priority=1)
    async with asyncio.timeout(10):
        await emit_in_a_task(bus.emit(Ping()), hanging)


async def test_an_observer_with_a_stray_cancellation_has_failed_and_goes_on(bus: EventBus) -> None:
    seen: list[int] = []

    @bus.observe(Ping)
    async def watch(event: Ping) -> None:
        if event.n == 0:
            await await_what_somebody_else_cancelled(event)
        seen.append(event.n)

    async with bus:
        for n in range(3):
            await bus.emit(Ping(n=n))
    [status] = bus.subscribers()
    assert seen == [1, 2]
    assert (status.calls, status.failures, status.state) == (3, 1, "live")


async def test_an_observer_with_three_stray_cancellations_in_a_row_is_set_aside(bus: EventBus) -> None:
    bus.observe(Ping, await_what_somebody_else_cancelled)
    async with bus:
        for n in range(5):
            await bus.emit(Ping(n=n))
    [status] = bus.subscribers()
    assert (status.calls, status.failures, status.state) == (3, 3, "set aside")


async def test_a_stray_cancellation_leaves_the_bus_usable(bus: EventBus) -> None:
    bus.on(Ping, await_what_somebody_else_cancelled, once=True)
    with pytest.raises(HandlerError):
        await bus.emit(Ping())
    assert not (await bus.emit(Ping())).errors
    assert bus.subscribers() == ()


async def test_a_stray_cancellation_from_the_cluster_is_a_failure_of_its_phase(bus: EventBus) -> None:
    class Cluster(FakeCluster):
        async def wait_until_ready(self, group: object) -> None:
            raise asyncio.CancelledError("Ray is gone")

    failed: list[tuple[str, str, bool]] = []
    bus.on(PhaseFailed, lambda event: failed.append((event.failed_phase, event.error, event.cancelled)))
    with pytest.raises(UnexpectedError, match="CancelledError: Ray is gone"):
        async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes(cluster=Cluster()).backends()):
            pytest.fail("the start was to fail")
    assert failed[0] == ("placement_group", "UnexpectedError", False)
