"""Subscribing and cancelling from threads while an event loop emits all the time.

What is guaranteed: what was subscribed when ``on``, ``observe``, ``attach`` or ``stream`` returned gets every emit that
begins after that, and what was cancelled when ``cancel`` returned is begun by no emit that begins after that. An emit
that has begun meanwhile may or may not reach it, and a handler that runs at that moment runs on.
"""

import gc
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from eventinit import Event, EventBus, handles, observes

pytestmark = pytest.mark.anyio

THREADS = 4
ROUNDS = 40


class Ping(Event):
    n: int = 0


class LoudPing(Ping):
    pass


@pytest.fixture
def bus() -> EventBus:
    return EventBus(drain_timeout_s=1)


@pytest.fixture(autouse=True)
def threads_that_take_turns_all_the_time() -> Iterator[None]:
    """Have the interpreter go from thread to thread as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
    gc.collect()  # what an observer that was not served leaves behind is of this test


class Emitting:
    """An event loop that emits all the time.

    ``begun`` and ``ended`` are the numbers of the last event whose emit has begun, and ended.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self.begun = self.ended = -1

    async def run(self) -> None:
        while True:
            await self.emit()
            await anyio.lowlevel.checkpoint()

    async def emit(self) -> None:
        n = self.begun = self.begun + 1
        await self._bus.emit((Ping, LoudPing)[n % 2](n=n))
        self.ended = n

    def wait_for(self, n: int) -> None:
        """Return, in a thread, when the emit of an event has ended."""
        while self.ended < n:
            anyio.from_thread.run(anyio.lowlevel.checkpoint)


@asynccontextmanager
async def emitting(bus: EventBus) -> AsyncGenerator[Emitting]:
    loop = Emitting(bus)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.run)
            yield loop
            tasks.cancel_scope.cancel()


async def in_threads(work: Callable[[], None]) -> None:
    """Run a function in several threads at once."""
    async with anyio.create_task_group() as tasks:
        for _ in range(THREADS):
            tasks.start_soon(partial(anyio.to_thread.run_sync, work, limiter=anyio.CapacityLimiter(1)))


def note(seen: list[int], event: Event) -> None:
    assert isinstance(event, Ping)
    seen.append(event.n)


def receive(_sender: object, *, event: Event) -> None:
    """Take part without doing anything."""


@pytest.mark.parametrize("kind", [Event, Ping])
async def test_handlers_that_threads_subscribe_get_all_events_until_they_are_cancelled(
    bus: EventBus, kind: type[Event]
) -> None:
    async with emitting(bus) as loop:

        def subscribe_and_cancel() -> None:
            for _ in range(ROUNDS):
                seen: list[int] = []
                subscription = bus.on(kind, partial(note, seen))
                first = loop.begun + 1
                last = first + 2
                loop.wait_for(last)
                before_cancel = loop.ended
                subscription.cancel()
                after_cancel = loop.begun
                loop.wait_for(after_cancel + 2)
                assert seen == list(range(seen[0], seen[-1] + 1))
                assert seen[0] <= first
                assert before_cancel <= seen[-1] <= after_cancel

        await in_threads(subscribe_and_cancel)
    assert bus.subscribers() == ()


async def test_no_subscription_is_lost_when_many_threads_subscribe(bus: EventBus) -> None:
    async with emitting(bus) as loop:

        def subscribe() -> None:
            for _ in range(ROUNDS):
                bus.on(Ping, lambda _event: None)
                bus.observe(LoudPing, print, where=lambda _event: False)
                bus.signal(Event).connect(partial(receive), weak=False)

        await in_threads(subscribe)
        n = loop.begun
        while loop.ended < n + 1:
            await anyio.lowlevel.checkpoint()
    kinds = [status.kind for status in bus.subscribers()]
    assert [kinds.count(kind) for kind in ("handler", "receiver", "observer")] == 3 * [THREADS * ROUNDS]


async def test_a_plain_handlers_count_is_exact_while_threads_subscribe(bus: EventBus) -> None:
    calls: list[int] = []
    bus.on(Ping, lambda event: calls.append(event.n), name="first")
    async with emitting(bus):

        def subscribe_and_cancel() -> None:
            for _ in range(5 * ROUNDS):
                bus.on(Ping, lambda _event: None).cancel()

        await in_threads(subscribe_and_cancel)
    [status] = bus.subscribers()
    assert status.calls == len(calls)


async def test_observers_that_threads_subscribe_are_served_until_they_are_cancelled(bus: EventBus) -> None:
    async with bus, emitting(bus) as loop:

        def observe_and_cancel() -> None:
            for _ in range(ROUNDS):
                seen: list[int] = []
                enough = threading.Event()

                async def note(event: Ping, seen: list[int] = seen, enough: threading.Event = enough) -> None:
                    seen.append(event.n)
                    if len(seen) == 3:
                        enough.set()

                subscription = bus.observe(Ping, note)
                first = loop.begun + 1
                assert enough.wait(5)
                subscription.cancel()
                last = loop.begun
                loop.wait_for(last + 2)
                assert seen[0] <= first
                assert seen == list(range(seen[0], seen[-1] + 1))
                assert seen[-1] <= last

        await in_threads(observe_and_cancel)
    assert bus.subscribers() == ()


class Both:
    """An object with a handler and an observer."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.observed = threading.Event()

    @handles(Ping)
    def handle(self, event: Ping) -> None:
        self.handled.append(event.n)

    @observes(Ping)
    async def watch(self, _event: Ping) -> None:
        self.observed.set()


async def test_objects_that_threads_attach_take_part_until_they_are_detached(bus: EventBus) -> None:
    async with bus, emitting(bus) as loop:

        def attach_and_cancel() -> None:
            for _ in range(ROUNDS):
                both = Both()
                attachment = bus.attach(both)
                first = loop.begun + 1
                loop.wait_for(first)
                assert both.observed.wait(5)
                attachment.cancel()
                last = loop.begun
                loop.wait_for(last + 2)
                assert both.handled[0] <= first
                assert both.handled[-1] <= last

        await in_threads(attach_and_cancel)
    assert bus.subscribers() == ()


async def test_streams_that_threads_make_have_all_events_until_they_are_cancelled(bus: EventBus) -> None:
    async def drain(stream: Any) -> list[int]:
        return [event.n async for event in stream]

    async with emitting(bus) as loop:

        def stream_and_cancel() -> None:
            for _ in range(ROUNDS):
                stream = bus.stream(Ping)
                first = loop.begun + 1
                loop.wait_for(first + 2)
                before_cancel = loop.ended
                stream.cancel()
                after_cancel = loop.begun
                seen = anyio.from_thread.run(drain, stream)
                assert seen == list(range(seen[0], seen[-1] + 1))
                assert seen[0] <= first
                assert before_cancel <= seen[-1] <= after_cancel

        await in_threads(stream_and_cancel)
    assert bus.subscribers() == ()


async def test_nothing_breaks_when_threads_do_everything_at_once(bus: EventBus) -> None:
    """Also not when the garbage collector ends streams in the middle of whatever a thread does."""
    async with bus, emitting(bus):

        def everything() -> None:
            for n in range(ROUNDS):
                cycle: list[Any] = [bus.stream((Event, Ping, LoudPing)[n % 3])]
                cycle.append(cycle)
                with bus.on(Ping, lambda _event: None), bus.observe(LoudPing, print, where=lambda _event: False):
                    del cycle
                    bus.subscribers()
                with bus.attach(Both()):
                    gc.collect(0)

        await in_threads(everything)
        gc.collect()
        assert bus.subscribers() == ()


async def settled_tasks() -> int:
    await anyio.wait_all_tasks_blocked()
    return len(anyio.get_running_tasks())


@pytest.mark.parametrize("in_a_thread", [False, True])
async def test_the_task_of_a_cancelled_observer_ends_though_the_bus_stays_open(
    bus: EventBus, in_a_thread: bool
) -> None:
    async def watch(_event: Ping) -> None:
        """Watch without doing anything."""

    async with bus:
        before = await settled_tasks()
        subscriptions = [bus.observe(Ping, watch) for _ in range(5)]
        await bus.emit(Ping())
        assert await settled_tasks() == before + 5
        for subscription in subscriptions:
            if in_a_thread:
                await anyio.to_thread.run_sync(subscription.cancel)
            else:
                subscription.cancel()
        assert await settled_tasks() == before


async def test_the_task_of_an_observer_cancelled_before_it_began_ends(bus: EventBus) -> None:
    async with bus:
        before = await settled_tasks()
        bus.observe(Ping, print).cancel()
        await anyio.to_thread.run_sync(lambda: bus.observe(Ping, print).cancel())
        assert await settled_tasks() == before


async def test_an_observer_that_hangs_is_ended_a_while_after_it_is_cancelled(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventinit.observers.GRACE_S", 0.01)
    begun, ended = anyio.Event(), anyio.Event()

    async def hang(_event: Ping) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    subscription = bus.observe(Ping, hang)
    async with bus:
        await bus.emit(Ping())
        with anyio.fail_after(30):
            await begun.wait()
            subscription.cancel()
            await ended.wait()


async def test_an_observer_that_cancels_itself_ends_its_call_in_peace(bus: EventBus) -> None:
    seen: list[int] = []
    ended = anyio.Event()

    async def once(event: Ping) -> None:
        subscription.cancel()
        await anyio.lowlevel.checkpoint()
        seen.append(event.n)
        ended.set()

    subscription = bus.observe(Ping, once)
    async with bus:
        await bus.emit(Ping(n=1))
        await bus.emit(Ping(n=2))
        with anyio.fail_after(30):
            await ended.wait()
    assert seen == [1]
