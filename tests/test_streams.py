"""``bus.stream`` and ``bus.wait_for``: events where somebody awaits them."""

import gc
from collections.abc import Callable

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from eventinit import EventBus, EventStream, LLMConfig, NodeInitializationContext, SubscriberStatus
from eventinit.errors import BusError, ContextSealedError, EventTimeoutError, SubscriptionError
from eventinit.events import PreDownload
from tests.pings import LoudPing, Other, Ping, emit

pytestmark = pytest.mark.anyio


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


async def take(stream: EventStream[Ping], count: int) -> list[int]:
    """Return the numbers of the next events, within a time that only a hanging stream exceeds."""
    with anyio.fail_after(10):
        return [(await anext(stream)).n for _ in range(count)]


async def rest(stream: EventStream[Ping]) -> list[int]:
    """Return the numbers of what comes until the stream ends."""
    with anyio.fail_after(10):
        return [event.n async for event in stream]


def streams(bus: EventBus) -> list[SubscriberStatus]:
    return [each for each in bus.subscribers() if each.kind == "stream"]


async def test_a_stream_has_what_is_emitted_once_it_is_made(bus: EventBus) -> None:
    early = bus.stream(Ping)
    await emit(bus, 1)
    late = bus.stream(Ping)
    await emit(bus, 2)
    assert await take(early, 2) == [1, 2]
    assert await take(late, 1) == [2]


async def test_a_stream_of_a_class_has_what_derives_from_it_and_nothing_else(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    for event in (LoudPing(n=1), Other(), Ping(n=2)):
        await bus.emit(event)
    stream.cancel()
    assert [type(event) async for event in stream] == [LoudPing, Ping]


async def test_where_says_which_events_a_stream_has(bus: EventBus) -> None:
    stream = bus.stream(Ping, where=lambda event: event.n % 2 == 1)
    await emit(bus, *range(5))
    stream.cancel()
    assert await rest(stream) == [1, 3]


async def test_a_filter_that_fails_loses_its_event_alone_and_is_counted(bus: EventBus) -> None:
    stream = bus.stream(Ping, where=lambda event: 2 // event.n > 0)
    await emit(bus, 0, 1)
    [status] = streams(bus)
    stream.cancel()
    assert await rest(stream) == [1]
    assert status.failures == 1


async def test_a_stream_goes_on_where_a_loop_over_it_was_left(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    await emit(bus, 1, 2)
    async for event in stream:
        assert event.n == 1
        break
    await emit(bus, 3)
    assert await take(stream, 2) == [2, 3]


async def test_a_full_stream_loses_its_oldest_events_and_counts_them() -> None:
    bus = EventBus(observer_queue_size=2)
    stream = bus.stream(Ping)
    await emit(bus, *range(5))
    assert stream.dropped == 3
    assert streams(bus)[0].dropped == 3
    assert streams(bus)[0].queued == 2
    assert await take(stream, 2) == [3, 4]
    assert streams(bus)[0].calls == 2


async def test_a_cancelled_stream_ends_after_what_is_queued(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    await emit(bus, 1, 2)
    stream.cancel()
    stream.cancel()
    await emit(bus, 3)
    assert await rest(stream) == [1, 2]
    assert await rest(stream) == []


async def test_a_closed_bus_ends_its_streams_after_what_is_queued(bus: EventBus) -> None:
    async with bus:
        stream = bus.stream(Ping)
        await emit(bus, 1, 2)
    await emit(bus, 3)
    assert await rest(stream) == [1, 2]
    assert streams(bus) == []


async def test_closing_a_bus_wakes_who_waits_for_its_streams(bus: EventBus) -> None:
    ended = anyio.Event()

    async def consume(stream: EventStream[Ping]) -> None:
        assert await rest(stream) == [1]
        ended.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            async with bus:
                tasks.start_soon(consume, bus.stream(Ping))
                await emit(bus, 1)
                await anyio.wait_all_tasks_blocked()
                assert not ended.is_set()
            await ended.wait()


async def test_a_stream_of_a_bus_opened_twice_lasts_until_the_last_close(bus: EventBus) -> None:
    async with bus:
        stream = bus.stream(Ping)
        async with bus:
            await emit(bus, 1)
        await emit(bus, 2)
        assert await take(stream, 2) == [1, 2]


async def test_a_stream_that_is_made_while_the_bus_closes_ends_with_it() -> None:
    """An observer that drains may be long about it, and other tasks go on meanwhile."""
    bus = EventBus(drain_timeout_s=30)
    begun, go_on, late = anyio.Event(), anyio.Event(), list[EventStream[Ping]]()

    @bus.observe(Ping)
    async def slow(_event: Ping) -> None:
        begun.set()
        await go_on.wait()

    await bus.open()
    await emit(bus, 1)
    await begun.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.aclose)
        await anyio.wait_all_tasks_blocked()
        late.append(bus.stream(Ping))
        go_on.set()
    with anyio.move_on_after(1) as limit:
        assert await rest(late[0]) == []
    assert not limit.cancelled_caught


async def test_a_stream_works_on_a_bus_that_is_not_open(bus: EventBus) -> None:
    seen: list[int] = []

    async def consume() -> None:
        seen.extend(await take(stream, 2))

    stream = bus.stream(Ping)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        await emit(bus, 1, 2)
    assert seen == [1, 2]
    assert not bus.is_open


async def test_a_stream_has_the_context_as_it_was_and_cannot_change_it(bus: EventBus) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))

    @bus.on(PreDownload)
    def change(event: PreDownload) -> None:
        event.context.custom_data["n"] = 1

    stream = bus.stream(PreDownload)
    await bus.emit(PreDownload(context=context))
    context.custom_data["n"] = 2
    event = await anext(stream)
    assert event.context.custom_data == {"n": 1}
    with pytest.raises(ContextSealedError):
        event.context.local_node_download_model = "NONE"


async def test_two_tasks_on_one_stream_share_its_events(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    seen: list[list[int]] = [[], []]

    async def consume(mine: list[int]) -> None:
        async for event in stream:
            mine.append(event.n)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for mine in seen:
                tasks.start_soon(consume, mine)
            for n in range(20):
                await anyio.wait_all_tasks_blocked()
                await emit(bus, 2 * n, 2 * n + 1)
            await anyio.wait_all_tasks_blocked()
            stream.cancel()
    assert sorted(seen[0] + seen[1]) == list(range(40))
    assert all(mine == sorted(mine) and mine for mine in seen)


async def wake_by(stream: EventStream[Ping], cancel: Callable[[], None], *, in_a_thread: bool) -> bool:
    """Return whether a consumer that waits ends once the stream is cancelled."""
    ended = anyio.Event()

    async def consume() -> None:
        async for _event in stream:
            pass
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        if in_a_thread:
            await anyio.to_thread.run_sync(cancel)
        else:
            cancel()
        with anyio.move_on_after(3):
            await ended.wait()
        tasks.cancel_scope.cancel()
    return ended.is_set()


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_cancelling_a_stream_wakes_who_waits_for_it(bus: EventBus, in_a_thread: bool) -> None:
    stream = bus.stream(Ping)
    await bus.emit(Ping())
    await take(stream, 1)
    assert await wake_by(stream, stream.cancel, in_a_thread=in_a_thread)


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_cancelling_a_stream_of_a_bus_that_was_never_used_wakes_who_waits_for_it(
    bus: EventBus, in_a_thread: bool
) -> None:
    stream = bus.stream(Ping)
    assert await wake_by(stream, stream.cancel, in_a_thread=in_a_thread)


async def test_cancelling_a_stream_of_a_bus_that_was_closed_wakes_who_waits_for_it(bus: EventBus) -> None:
    async with bus:
        pass
    stream = bus.stream(Ping)
    assert await wake_by(stream, stream.cancel, in_a_thread=False)


async def test_a_stream_that_nobody_holds_is_gone(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    assert [status.name for status in streams(bus)] == ["stream of Ping"]
    del stream
    gc.collect()
    assert streams(bus) == []


async def test_a_stream_in_a_loop_over_it_is_held_by_the_loop(bus: EventBus) -> None:
    seen: list[int] = []

    async def consume() -> None:
        async for event in bus.stream(Ping):
            seen.append(event.n)
            if event.n == 2:
                break

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            for n in range(3):
                await anyio.wait_all_tasks_blocked()
                gc.collect()
                await emit(bus, n)
    assert seen == [0, 1, 2]
    assert streams(bus) == []


async def test_a_consumer_that_is_cancelled_loses_nothing(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    seen: list[int] = []

    async def consume() -> None:
        async for event in stream:
            seen.append(event.n)  # noqa: PERF401 - each at once, since it is cancelled

    for n in range(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            await anyio.wait_all_tasks_blocked()
            await emit(bus, n)  # the consumer is woken, and cancelled before it runs
            tasks.cancel_scope.cancel()
    stream.cancel()
    assert seen + await rest(stream) == [0, 1, 2]


async def test_what_is_no_event_class_has_no_stream(bus: EventBus) -> None:
    with pytest.raises(SubscriptionError, match="is no event"):
        bus.stream(int)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def test_wait_for_returns_the_next_event_of_the_class(bus: EventBus) -> None:
    got: list[Ping] = []

    async def wait() -> None:
        got.append(await bus.wait_for(Ping, timeout=10))

    await emit(bus, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await bus.emit(Other())
        await bus.emit(LoudPing(n=2))
        await emit(bus, 3)
    assert got == [LoudPing(n=2)]
    assert bus.subscribers() == ()


async def test_wait_for_waits_until_where_is_true(bus: EventBus) -> None:
    got: list[Ping] = []

    async def wait() -> None:
        with anyio.fail_after(10):
            got.append(await bus.wait_for(Ping, where=lambda event: event.n > 1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await emit(bus, 0, 1, 2)
    assert got == [Ping(n=2)]


async def test_an_event_that_does_not_come_in_time_is_an_error_that_names_it_and_the_time(bus: EventBus) -> None:
    with pytest.raises(EventTimeoutError, match=r"no Ping came within 0\.01 s") as caught:
        await bus.wait_for(Ping, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.event, caught.value.timeout_s) == ("Ping", 0.01)
    assert bus.subscribers() == ()


async def test_a_timeout_of_zero_does_not_wait(bus: EventBus) -> None:
    with pytest.raises(EventTimeoutError, match="within 0 s"):
        await bus.wait_for(Ping, timeout=0)


async def test_a_bus_that_is_closed_while_somebody_waits_is_an_error_there(bus: EventBus) -> None:
    errors: list[BusError] = []

    async def wait() -> None:
        try:
            await bus.wait_for(Ping, timeout=10)
        except BusError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, bus:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
    assert "closed while somebody waited for Ping" in str(errors[0])
    assert bus.subscribers() == ()


async def test_a_cancelled_wait_leaves_nothing_behind(bus: EventBus) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.wait_for, Ping)
            await anyio.wait_all_tasks_blocked()
            assert len(streams(bus)) == 1
            scope.cancel()
    assert scope.cancelled_caught
    assert bus.subscribers() == ()


async def test_a_handler_may_wait_for_an_event_that_another_task_emits(bus: EventBus) -> None:
    """A handler that waits holds up its own emit, and no other."""
    got: list[int] = []

    @bus.on(Other)
    async def wait(_event: Other) -> None:
        got.append((await bus.wait_for(Ping, timeout=10)).n)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, Other())
        await anyio.wait_all_tasks_blocked()
        await emit(bus, 7)
    assert got == [7]
