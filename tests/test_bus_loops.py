"""One bus and several event loops: one at a time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from eventinit import Event, EventBus
from eventinit.errors import BusError

REMEDY = r"belongs to another event loop.*use a bus for each loop.*anyio\.from_thread\.run"

BACKENDS = ["asyncio", "trio"]
EACH_AFTER_EACH = [(first, second) for first in BACKENDS for second in BACKENDS]


class Ping(Event):
    n: int = 0


class Unwatched(Event):
    pass


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def bus(seen: list[int]) -> EventBus:
    """Give a bus with a handler."""
    bus = EventBus(drain_timeout_s=10)
    bus.on(Ping, lambda event: seen.append(event.n))
    return bus


async def use(bus: EventBus, way: str) -> None:
    """Use the bus on the event loop that runs."""
    if way == "emit":
        await bus.emit(Ping(n=2))
    elif way == "open":
        await bus.open()
    elif way == "close":
        await bus.aclose()
    else:
        with anyio.fail_after(1):
            await bus.wait_for(Ping)


WAYS = ["emit", "open", "close"]


def in_a_thread(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a thread with no event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(20)


@pytest.mark.anyio
@pytest.mark.parametrize("second", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_second_event_loop_in_a_thread_is_refused(
    bus: EventBus, seen: list[int], way: str, second: str
) -> None:
    async with bus:
        await bus.emit(Ping(n=1))
        with pytest.raises(BusError, match=REMEDY):
            await anyio.to_thread.run_sync(lambda: anyio.run(use, bus, way, backend=second))
        await bus.emit(Ping(n=3))
        assert bus.is_open
    assert seen == [1, 3]


@pytest.mark.anyio
async def test_waiting_on_a_second_event_loop_is_refused(bus: EventBus) -> None:
    await bus.emit(Ping(n=1))
    with pytest.raises(BusError, match=REMEDY):
        await anyio.to_thread.run_sync(lambda: anyio.run(use, bus, "wait"))


@pytest.fixture
def two_loops() -> Iterator[list[asyncio.AbstractEventLoop]]:
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    yield loops
    for loop in loops:
        loop.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_second_event_loop_in_the_same_thread_is_refused_while_the_first_lives(
    bus: EventBus, seen: list[int], two_loops: list[asyncio.AbstractEventLoop], way: str
) -> None:
    first, second = two_loops
    first.run_until_complete(bus.emit(Ping(n=1)))
    for _ in range(2):
        with pytest.raises(BusError, match=REMEDY):
            second.run_until_complete(use(bus, way))
        first.run_until_complete(bus.emit(Ping(n=3)))
    assert seen == [1, 3, 3]
    first.close()
    second.run_until_complete(bus.emit(Ping(n=4)))
    assert seen == [1, 3, 3, 4]


def test_an_open_bus_is_refused_to_a_second_loop_while_the_first_lives_and_rests(
    bus: EventBus, two_loops: list[asyncio.AbstractEventLoop]
) -> None:
    first, second = two_loops
    first.run_until_complete(bus.open())
    with pytest.raises(BusError, match=REMEDY):
        second.run_until_complete(bus.aclose())
    first.run_until_complete(bus.aclose())
    second.run_until_complete(bus.open())
    second.run_until_complete(bus.aclose())


@pytest.mark.anyio
async def test_a_thread_may_emit_through_the_loop_of_the_bus(bus: EventBus, seen: list[int]) -> None:
    threads: set[threading.Thread] = set()
    bus.on(Ping, lambda _event: threads.add(threading.current_thread()))
    await bus.emit(Ping(n=1))
    await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(bus.emit, Ping(n=2)))
    assert seen == [1, 2]
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize(("first", "second"), EACH_AFTER_EACH)
def test_a_loop_that_is_over_makes_way_for_the_next(bus: EventBus, seen: list[int], first: str, second: str) -> None:
    anyio.run(bus.emit, Ping(n=1), backend=first)
    anyio.run(bus.emit, Ping(n=2), backend=second)
    in_a_thread(lambda: anyio.run(bus.emit, Ping(n=3), backend=first))
    assert seen == [1, 2, 3]


@pytest.mark.anyio
async def test_a_bus_that_was_closed_may_be_used_on_another_loop_while_the_first_lives(
    bus: EventBus, seen: list[int]
) -> None:
    async with bus:
        await bus.emit(Ping(n=1))
    await anyio.to_thread.run_sync(lambda: asyncio.run(use(bus, "emit")))
    assert seen == [1, 2]


@pytest.mark.anyio
async def test_an_event_that_nobody_gets_may_come_from_any_loop(bus: EventBus) -> None:
    await bus.emit(Ping(n=1))
    outcome = await anyio.to_thread.run_sync(lambda: asyncio.run(bus.emit(Unwatched())))
    assert not outcome.vetoed


class Watcher:
    """An observer of either kind, which notes the numbers it sees."""

    def __init__(self, bus: EventBus, *, is_plain: bool) -> None:
        self.seen: list[int] = []
        if is_plain:
            bus.observe(Ping, lambda event: self.seen.append(event.n))
        else:
            bus.observe(Ping, self.watch)

    async def watch(self, event: Ping) -> None:
        self.seen.append(event.n)


async def open_emit_and_close(bus: EventBus, n: int) -> None:
    """Emit an event while the observer waits for one, and let closing deliver it."""
    async with bus:
        await anyio.wait_all_tasks_blocked()
        await bus.emit(Ping(n=n))


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    EACH_AFTER_EACH,
)
def test_a_closed_bus_serves_its_observers_again_on_another_loop(
    bus: EventBus, first: str, second: str, is_plain: bool
) -> None:
    """As with ``asyncio.run`` twice: what an observer waited with on the first loop is of no use on the second."""
    watcher = Watcher(bus, is_plain=is_plain)
    seen: list[list[int]] = []
    try:
        for n, backend in enumerate([first, second, first]):
            anyio.run(open_emit_and_close, bus, n, backend=backend)
            seen.append(list(watcher.seen))
    except RuntimeError as error:
        pytest.fail(f"{error!r:.200}", pytrace=False)
    assert seen == [[0], [0, 1], [0, 1, 2]]
    assert not bus.is_open


async def open_and_leave_open(bus: EventBus, n: int) -> None:
    await bus.open()
    await anyio.wait_all_tasks_blocked()
    await bus.emit(Ping(n=n))
    await anyio.wait_all_tasks_blocked()


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize(("first", "second"), EACH_AFTER_EACH)
def test_a_bus_whose_loop_ended_while_it_was_open_serves_its_observers_on_another(
    bus: EventBus, first: str, second: str, is_plain: bool
) -> None:
    watcher = Watcher(bus, is_plain=is_plain)
    anyio.run(open_and_leave_open, bus, 0, backend=first)
    watcher.seen.clear()
    anyio.run(open_emit_and_close, bus, 1, backend=second)
    assert watcher.seen[-1] == 1
    assert not bus.is_open


def test_what_is_emitted_on_another_loop_before_the_bus_is_opened_there_waits_for_observers(bus: EventBus) -> None:
    watcher = Watcher(bus, is_plain=False)
    asyncio.run(open_and_leave_open(bus, 0))
    asyncio.run(bus.emit(Ping(n=1)))
    asyncio.run(open_emit_and_close(bus, 2))
    assert watcher.seen == [0, 1, 2]


def test_a_bus_whose_loop_ended_while_it_was_open_is_not_open_on_the_next(bus: EventBus) -> None:
    asyncio.run(bus.open())
    with pytest.raises(BusError, match="not open"):
        asyncio.run(bus.aclose())


@pytest.mark.parametrize(("first", "second"), EACH_AFTER_EACH)
def test_a_stream_outlives_the_loop_on_which_somebody_waited_for_it(bus: EventBus, first: str, second: str) -> None:
    """A stream of a bus that is not open belongs to no loop while nobody waits."""
    stream = bus.stream(Ping)
    got: list[int] = []

    async def wait_in_vain() -> None:
        with anyio.move_on_after(0.01):
            await anext(stream)

    async def wait() -> None:
        got.append((await anext(stream)).n)

    async def wait_and_emit() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await bus.emit(Ping(n=5))

    anyio.run(wait_in_vain, backend=first)
    anyio.run(wait_and_emit, backend=second)
    assert got == [5]
