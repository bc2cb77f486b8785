"""``once`` and ``timeout`` of a subscription."""

import threading

import anyio
import pytest

from eventinit import Event, EventBus
from eventinit.errors import HandlerError, SubscriptionError

pytestmark = pytest.mark.anyio


class Ping(Event):
    n: int = 0


async def test_a_handler_for_once_gets_the_first_event_only() -> None:
    bus, seen = EventBus(), list[int]()
    bus.on(Ping, lambda event: seen.append(event.n), once=True)
    for n in range(3):
        await bus.emit(Ping(n=n))
    assert seen == [0]


async def test_a_handler_for_once_waits_for_the_event_that_it_wants() -> None:
    bus, seen = EventBus(), list[int]()
    bus.on(Ping, lambda event: seen.append(event.n), once=True, where=lambda event: event.n == 2)
    for n in range(4):
        await bus.emit(Ping(n=n))
    assert seen == [2]


async def test_a_handler_for_once_is_not_called_by_an_event_that_it_emits_itself() -> None:
    bus, seen = EventBus(), list[int]()

    @bus.on(Ping, once=True)
    async def again(event: Ping) -> None:
        seen.append(event.n)
        await bus.emit(Ping(n=event.n + 1))

    await bus.emit(Ping())
    assert seen == [0]


async def test_a_handler_that_takes_longer_than_its_timeout_fails_and_the_next_one_runs() -> None:
    bus, ran = EventBus(), list[str]()

    @bus.on(Ping, timeout=0.02)
    async def stuck(_event: Ping) -> None:
        await anyio.sleep_forever()

    bus.on(Ping, lambda _event: ran.append("next"))
    with pytest.raises(HandlerError, match=r"stuck failed on Ping: TimeoutError: took longer than.*0\.02 s"):
        await bus.emit(Ping())
    assert ran == ["next"]


async def test_a_handler_in_a_thread_can_be_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventinit.handler_call.GRACE_S", 0.02)
    bus, release = EventBus(), threading.Event()

    def stuck(_event: Ping) -> None:
        release.wait()

    bus.on(Ping, stuck, thread=True, timeout=0.02, on_error="log")
    try:
        outcome = await bus.emit(Ping())
    finally:
        release.set()
    assert isinstance(outcome.errors[0].__cause__, TimeoutError)


async def test_a_handler_in_time_is_left_alone() -> None:
    bus, seen = EventBus(), list[int]()

    @bus.on(Ping, timeout=5)
    async def quick(event: Ping) -> None:
        seen.append(event.n)

    await bus.emit(Ping(n=1))
    assert seen == [1]


async def test_a_plain_function_on_the_loop_cannot_have_a_timeout() -> None:
    with pytest.raises(SubscriptionError, match="add thread=True"):
        EventBus().on(Ping, lambda _event: None, timeout=1)
