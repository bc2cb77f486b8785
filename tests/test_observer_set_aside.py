"""``ObserverSetAside``: the event that tells that an observer gets no more."""

from collections.abc import Callable

import anyio
import pytest

from eventinit import Event, EventBus, ObserverSetAside
from eventinit.testing import record

pytestmark = pytest.mark.anyio


class Ping(Event):
    n: int = 0


class Other(Event):
    pass


@pytest.fixture
def bus() -> EventBus:
    """Give a bus that waits long for its observers, so that busy machines fail no test."""
    return EventBus(drain_timeout_s=30)


async def emit(bus: EventBus, count: int) -> None:
    for n in range(count):
        await bus.emit(Ping(n=n))


async def broken(event: Event) -> None:
    raise KeyError("broken pencil")


def breaking_filter(_event: Event) -> bool:
    raise ZeroDivisionError("broken filter")


async def works(_event: Event) -> None:
    """Watch without failing."""


async def test_it_is_emitted_once_and_says_who_failed_how_often_and_on_what(bus: EventBus) -> None:
    bus.observe(Ping, broken)
    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 8)
            with anyio.fail_after(10):
                await told.expect(ObserverSetAside)
            await emit(bus, 8)
        async with bus:
            await emit(bus, 8)
    assert told.events == [ObserverSetAside(observer="broken", event_type="Ping", failures=3, error="KeyError")]


async def test_it_names_the_error_of_the_last_failure(bus: EventBus) -> None:
    @bus.observe(Ping)
    def fails(event: Ping) -> None:
        raise [ValueError, OSError, LookupError][event.n]("x")

    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 3)
    assert [event.error for event in told.of(ObserverSetAside)] == ["LookupError"]


async def test_two_failures_in_a_row_or_three_with_a_success_between_do_not_call_for_it(bus: EventBus) -> None:
    @bus.observe(Ping)
    async def fails(event: Ping) -> None:
        if event.n % 3 != 2:
            raise KeyError("x")

    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 11)
    assert told.events == []


async def test_a_filter_that_fails_three_times_is_told_like_an_observer_that_does(bus: EventBus) -> None:
    bus.observe(Ping, works, where=breaking_filter)
    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 8)
            await told.expect(ObserverSetAside, within_s=10)
    assert told.events == [ObserverSetAside(observer="works", event_type="Ping", failures=3, error="ZeroDivisionError")]
    [status] = bus.subscribers()
    assert (status.state, status.calls, status.failures) == ("set aside", 0, 3)


@pytest.mark.parametrize("where", [None, breaking_filter])
async def test_it_is_emitted_when_the_bus_opens_if_that_comes_later(
    bus: EventBus, where: Callable[[Event], bool] | None
) -> None:
    bus.observe(Ping, broken, where=where)
    with record(bus, ObserverSetAside) as told:
        await emit(bus, 5)
        await anyio.wait_all_tasks_blocked()
        assert told.events == []
        async with bus:
            await told.expect(ObserverSetAside, within_s=10)
    assert len(told.events) == 1


async def test_the_observer_may_be_one_of_every_event(bus: EventBus) -> None:
    """It does not get the event about itself, which would fail again."""
    bus.observe(Event, broken)
    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 5)
    assert [event.event_type for event in told.of(ObserverSetAside)] == ["Event"]
    assert [status.calls for status in bus.subscribers()] == [3]


async def test_observers_of_it_that_fail_are_set_aside_in_turn_without_end(bus: EventBus) -> None:
    for _ in range(4):
        bus.observe(Ping, broken)
    bus.observe(ObserverSetAside, broken)
    with record(bus, ObserverSetAside) as told, anyio.fail_after(20):
        async with bus:
            await emit(bus, 3)
    assert sorted(event.event_type for event in told.of(ObserverSetAside)) == ["ObserverSetAside"] + 4 * ["Ping"]


async def test_it_reaches_handlers_observers_and_streams_when_the_bus_is_closing(bus: EventBus) -> None:
    seen: list[str] = []

    @bus.on(ObserverSetAside)
    async def handler(_event: ObserverSetAside) -> None:
        await anyio.wait_all_tasks_blocked()
        seen.append("handler")

    @bus.observe(ObserverSetAside)
    async def observer(_event: ObserverSetAside) -> None:
        seen.append("observer")

    begun, go_on = anyio.Event(), anyio.Event()

    @bus.observe(Ping)
    async def fails_late(_event: Ping) -> None:
        begun.set()
        await go_on.wait()
        raise KeyError("x")

    stream = bus.stream(ObserverSetAside)
    await bus.open()
    await emit(bus, 3)
    with anyio.fail_after(10):
        await begun.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.aclose)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            go_on.set()
    assert seen == ["handler", "observer"]
    assert [event.failures async for event in stream] == [3]


async def test_a_handler_of_it_that_fails_disturbs_nobody(bus: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_event: ObserverSetAside) -> None:
        raise RuntimeError("no pager today")

    seen: list[int] = []

    @bus.observe(Ping)
    async def note(event: Ping) -> None:
        seen.append(event.n)

    bus.on(ObserverSetAside, fails)
    bus.observe(Ping, broken)
    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 5)
    assert seen == [0, 1, 2, 3, 4]
    assert len(told.events) == 1
    assert "no pager today" in caplog.text


async def test_a_handler_of_it_that_hangs_disturbs_nobody() -> None:
    bus = EventBus(drain_timeout_s=0.1)
    hanging, seen = anyio.Event(), list[int]()

    @bus.on(ObserverSetAside)
    async def hang(_event: ObserverSetAside) -> None:
        hanging.set()
        await anyio.sleep_forever()

    @bus.observe(Ping)
    async def note(event: Ping) -> None:
        seen.append(event.n)

    bus.observe(Ping, broken)
    with anyio.fail_after(20):
        async with bus:
            await emit(bus, 3)
            await hanging.wait()
            await emit(bus, 3)
            await anyio.wait_all_tasks_blocked()
            assert seen == [0, 1, 2, 0, 1, 2]
    assert not bus.is_open


async def test_an_observer_whose_filter_fails_while_it_hangs_is_told_without_waiting_for_it() -> None:
    bus = EventBus(drain_timeout_s=0.1)
    begun = anyio.Event()

    @bus.observe(Ping, where=lambda event: 1 // (1 - event.n) > 0)
    async def hang(_event: Ping) -> None:
        begun.set()
        await anyio.sleep_forever()

    with record(bus, ObserverSetAside) as told:
        async with bus:
            await emit(bus, 1)
            with anyio.fail_after(10):
                await begun.wait()
            for _ in range(3):
                await bus.emit(Ping(n=1))
            await told.expect(ObserverSetAside, within_s=1)
