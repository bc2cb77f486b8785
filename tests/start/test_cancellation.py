"""Cancelling a start, in every way in which that happens, leaves nothing behind."""

import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest
import pytest_asyncio

from eventinit import Event, EventBus, LLMConfig, Node, NodeInitializer, initialize_node
from eventinit.events import (
    PhaseFailed,
    PostDownload,
    PreDownload,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
    PreShutdown,
)
from eventinit.testing import Fakes

MOMENTS: list[type[Event]] = [PreInitialization, PreDownload, PrePlacementGroup, PostDownload, PreEngineInit]


@pytest.mark.anyio
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_scope_leaves_nothing(
    moment: type[Event], bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    failed: list[tuple[str, bool]] = []
    bus.on(PhaseFailed, lambda event: failed.append((event.failed_phase, event.cancelled)))
    fakes.engine.seconds = 3600.0
    with anyio.CancelScope() as scope:

        @bus.on(moment)
        async def cancel(_event: Event) -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pytest.fail("the start was cancelled")
    assert scope.cancelled_caught
    assert fakes.left_behind() == []
    assert not bus.is_open
    assert failed[-1] == ("initialization", True)


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["download", "placement", "engine"])
async def test_a_plain_asyncio_cancel_leaves_nothing(where: str, fakes: Fakes, config: LLMConfig) -> None:
    """It strikes through anyio's shields, also when it comes twice: the undo runs to its end all the same."""
    begun = asyncio.Event()
    bus = EventBus()
    moments: dict[str, type[Event]] = {
        "download": PreDownload,
        "placement": PrePlacementGroup,
        "engine": PreEngineInit,
    }
    bus.on(moments[where], lambda _event: begun.set())
    fakes.source.seconds = 3600.0 if where == "download" else 0.0
    fakes.cluster.ready_after_s = None if where == "placement" else 0.0
    fakes.engine.seconds = 3600.0
    task = asyncio.create_task(NodeInitializer(config, bus, backends=fakes.backends()).start())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fakes.left_behind() == []
    assert not bus.is_open


@pytest.mark.asyncio
async def test_a_second_cancel_during_the_undo_does_not_cut_it_short(
    bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    undoing, go_on = asyncio.Event(), asyncio.Event()

    class Slow(type(fakes.cluster)):  # type: ignore[misc]
        async def remove_group(self, group: object) -> None:
            undoing.set()
            await go_on.wait()
            await super().remove_group(group)

    fakes.cluster, fakes.engine.seconds = Slow(), 3600.0
    begun = asyncio.Event()
    bus.on(PreEngineInit, lambda _event: begun.set())
    task = asyncio.create_task(NodeInitializer(config, bus, backends=fakes.backends()).start())
    await begun.wait()
    task.cancel()
    await undoing.wait()
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fakes.left_behind() == []
    assert not bus.is_open


@pytest.mark.asyncio
async def test_asyncio_timeout_ends_a_start(fakes: Fakes, config: LLMConfig) -> None:
    fakes.engine.seconds = 3600.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), initialize_node(config, backends=fakes.backends()):
            pytest.fail("the start was cancelled")
    assert fakes.left_behind() == []


@pytest.mark.asyncio
async def test_a_cancelled_block_still_shuts_the_node_down(fakes: Fakes, config: LLMConfig) -> None:
    running = asyncio.Event()

    async def hold() -> None:
        async with initialize_node(config, backends=fakes.backends()):
            running.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fakes.left_behind() == []


@pytest.mark.asyncio
async def test_a_second_cancel_during_the_shutdown_does_not_cut_it_short(
    bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    closing = asyncio.Event()

    @bus.on(PreShutdown)
    async def slow(_event: PreShutdown) -> None:
        closing.set()
        await asyncio.sleep(0.05)

    initializer = NodeInitializer(config, bus, backends=fakes.backends())
    await initializer.start()
    task = asyncio.create_task(initializer.aclose())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fakes.left_behind() == []


@pytest_asyncio.fixture
async def node(config: LLMConfig) -> AsyncGenerator[Node]:
    async with initialize_node(config, backends=Fakes().backends()) as running:
        yield running


@pytest.mark.asyncio
async def test_a_node_can_live_in_a_fixture(node: Node) -> None:
    """A fixture's set-up and tear-down may run in two tasks, which no open task group would survive."""
    assert node.is_running


@pytest.mark.asyncio
async def test_start_and_aclose_may_run_in_two_tasks(fakes: Fakes, config: LLMConfig) -> None:
    initializer = NodeInitializer(config, backends=fakes.backends())
    await asyncio.create_task(initializer.start())
    await asyncio.create_task(initializer.aclose())
    assert fakes.left_behind() == []


@pytest.mark.anyio
async def test_cancellation_wins_over_an_error_of_the_undo(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    class Broken(type(fakes.cluster)):  # type: ignore[misc]
        async def remove_group(self, group: object) -> None:
            await super().remove_group(group)
            raise RuntimeError("Ray did not answer")

    fakes.cluster, fakes.engine.seconds = Broken(), 3600.0
    with anyio.move_on_after(0.1) as scope:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pytest.fail("the start was cancelled")
    assert scope.cancelled_caught
    assert fakes.left_behind() == []
