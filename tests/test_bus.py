"""The bus: who gets an event, in what order, and what happens when that changes meanwhile."""

import contextvars
import functools
import threading
from typing import Any

import anyio
import pytest

from eventinit import Event, EventBus, Outcome, Subscription, VetoableEvent
from eventinit.errors import SubscriptionError

pytestmark = pytest.mark.anyio

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


class Ping(Event):
    """A plain event."""

    n: int = 0


class LoudPing(Ping):
    """An event that derives from another."""


class Question(VetoableEvent):
    """An event that can be vetoed."""


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test."""
    return EventBus()


@pytest.fixture
def calls() -> list[str]:
    """Give a list in which handlers note that they ran."""
    return []


async def test_an_event_without_subscribers_comes_to_nothing(bus: EventBus) -> None:
    outcome = await bus.emit(Ping())
    assert outcome == Outcome()
    assert not outcome.vetoed


async def test_handlers_run_by_priority_and_then_in_the_order_of_subscription(bus: EventBus, calls: list[str]) -> None:
    for name, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 0), ("e", 5), ("f", 10)]:
        bus.on(Ping, lambda _event, name=name: calls.append(name), priority=priority)
    await bus.emit(Ping())
    assert calls == ["f", "b", "e", "a", "d", "c"]


async def test_an_events_class_and_its_bases_share_one_order(bus: EventBus, calls: list[str]) -> None:
    for name, kind, priority in [
        ("event", Event, 0),
        ("loud", LoudPing, 0),
        ("ping", Ping, 0),
        ("late loud", LoudPing, 0),
        ("first", Event, 1),
        ("last", LoudPing, -1),
    ]:
        bus.on(kind, lambda _event, name=name: calls.append(name), priority=priority)
    await bus.emit(LoudPing())
    assert calls == ["first", "event", "loud", "ping", "late loud", "last"]


async def test_a_subscription_covers_what_derives_from_its_class_and_nothing_else(
    bus: EventBus, calls: list[str]
) -> None:
    bus.on(Ping, lambda event: calls.append(type(event).__name__))
    for event in (Ping(), LoudPing(), Question()):
        await bus.emit(event)
    assert calls == ["Ping", "LoudPing"]


async def test_async_plain_and_thread_handlers_keep_one_order(bus: EventBus, calls: list[str]) -> None:
    @bus.on(Ping)
    async def asynchronous(_event: Ping) -> None:
        await anyio.lowlevel.checkpoint()
        calls.append("async")

    @bus.on(Ping, thread=True)
    def threaded(_event: Ping) -> None:
        calls.append("thread" if threading.current_thread() is not here else "not in a thread")

    @bus.on(Ping)
    def plain(_event: Ping) -> None:
        calls.append("plain" if threading.current_thread() is here else "not inline")

    here = threading.current_thread()
    await bus.emit(Ping())
    assert calls == ["async", "thread", "plain"]


async def test_anything_that_can_be_called_is_a_handler(bus: EventBus, calls: list[str]) -> None:
    class Callable:
        async def __call__(self, _event: Ping) -> None:
            calls.append("object")

        def method(self, _event: Ping) -> None:
            calls.append("method")

    async def with_name(name: str, _event: Ping) -> None:
        calls.append(name)

    thing = Callable()
    bus.on(Ping, thing)
    bus.on(Ping, thing.method)
    bus.on(Ping, functools.partial(with_name, "partial"))
    bus.on(Ping, lambda event: with_name("lambda", event))
    await bus.emit(Ping())
    assert calls == ["object", "method", "partial", "lambda"]


async def test_the_same_function_can_be_subscribed_twice(bus: EventBus, calls: list[str]) -> None:
    def handler(_event: Ping) -> None:
        calls.append("x")

    first = bus.on(Ping, handler)
    bus.on(Ping, handler)
    await bus.emit(Ping())
    assert calls == ["x", "x"]
    first.cancel()
    await bus.emit(Ping())
    assert calls == ["x", "x", "x"]


@pytest.mark.parametrize("thread", [False, True])
async def test_handlers_see_the_emitters_context_variables(bus: EventBus, thread: bool) -> None:
    seen: list[str] = []
    bus.on(Ping, lambda _event: seen.append(request_id.get()), thread=thread)
    request_id.set("r1")
    await bus.emit(Ping())
    assert seen == ["r1"]


async def test_the_decorator_gives_the_function_back(bus: EventBus) -> None:
    async def handler(_event: Ping) -> None:
        return

    assert bus.on(Ping)(handler) is handler


async def test_a_cancelled_subscription_gets_nothing_and_cancelling_twice_is_harmless(
    bus: EventBus, calls: list[str]
) -> None:
    subscription = bus.on(Ping, lambda _event: calls.append("x"))
    assert isinstance(subscription, Subscription)
    subscription.cancel()
    subscription.cancel()
    await bus.emit(Ping())
    assert calls == []


async def test_a_subscription_is_a_context_manager(bus: EventBus, calls: list[str]) -> None:
    with bus.on(Ping, lambda _event: calls.append("x")):
        await bus.emit(Ping())
    await bus.emit(Ping())
    assert calls == ["x"]


async def test_a_handler_cancelled_during_an_emit_does_not_run_any_more(bus: EventBus, calls: list[str]) -> None:
    later: list[Subscription] = []
    bus.on(Ping, lambda _event: later[0].cancel())
    later.append(bus.on(Ping, lambda _event: calls.append("later")))
    bus.on(Ping, lambda _event: calls.append("last"))
    await bus.emit(Ping())
    assert calls == ["last"]


async def test_a_handler_that_cancels_itself_runs_once(bus: EventBus, calls: list[str]) -> None:
    def once(_event: Ping) -> None:
        calls.append("once")
        subscription.cancel()

    subscription = bus.on(Ping, once)
    await bus.emit(Ping())
    await bus.emit(Ping())
    assert calls == ["once"]


async def test_a_handler_subscribed_during_an_emit_begins_with_the_next(bus: EventBus, calls: list[str]) -> None:
    def subscribe(_event: Ping) -> None:
        if not calls:
            bus.on(Ping, lambda _event: calls.append("new"), priority=-1)
        calls.append("old")

    bus.on(Ping, subscribe)
    await bus.emit(Ping())
    assert calls == ["old"]
    await bus.emit(Ping())
    assert calls == ["old", "old", "new"]


async def test_a_subscription_to_a_base_class_after_the_first_emit_counts(bus: EventBus, calls: list[str]) -> None:
    """The order of an event's handlers is worked out once and has to be worked out anew."""
    bus.on(LoudPing, lambda _event: calls.append("own"))
    await bus.emit(LoudPing())
    bus.on(Event, lambda _event: calls.append("base"), priority=1)
    await bus.emit(LoudPing())
    assert calls == ["own", "base", "own"]


async def test_an_emit_inside_a_handler_is_over_before_the_handler_goes_on(bus: EventBus, calls: list[str]) -> None:
    @bus.on(Ping)
    async def nest(event: Ping) -> None:
        calls.append(f"in {event.n}")
        if event.n < 2:
            await bus.emit(LoudPing(n=event.n + 1))
        calls.append(f"out {event.n}")

    await bus.emit(Ping())
    assert calls == ["in 0", "in 1", "in 2", "out 2", "out 1", "out 0"]


async def test_where_decides_which_events_a_handler_gets(bus: EventBus) -> None:
    seen: list[int] = []
    bus.on(Ping, lambda event: seen.append(event.n), where=lambda event: event.n % 2 == 1)
    for n in range(4):
        await bus.emit(Ping(n=n))
    assert seen == [1, 3]


async def test_a_cancelled_emit_stops_in_the_handler_it_is_in(bus: EventBus, calls: list[str]) -> None:
    @bus.on(Ping)
    async def hang(_event: Ping) -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            calls.append("cleaned up")

    bus.on(Ping, lambda _event: calls.append("next"))
    with anyio.CancelScope() as scope:
        await bus.emit(Ping())
    assert scope.cancelled_caught
    assert calls == ["cleaned up"]


async def test_two_buses_have_nothing_in_common(bus: EventBus, calls: list[str]) -> None:
    bus.on(Ping, lambda _event: calls.append("x"))
    await EventBus().emit(Ping())
    assert calls == []


async def test_many_tasks_may_emit_at_once(bus: EventBus) -> None:
    seen: list[int] = []

    @bus.on(Ping)
    async def note(event: Ping) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(event.n)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(bus.emit, Ping(n=n))
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize("thing", [int, "Ping", None, Ping()], ids=str)
async def test_what_is_no_event_class_cannot_be_subscribed_to(bus: EventBus, thing: Any) -> None:
    for subscribe in (bus.on, bus.observe):
        with pytest.raises(SubscriptionError, match="is no event"):
            subscribe(thing, print)


async def test_an_async_handler_cannot_be_put_into_a_thread(bus: EventBus) -> None:
    async def handler(_event: Ping) -> None:
        return

    with pytest.raises(SubscriptionError, match=r"handler is async.*leave thread=True out"):
        bus.on(Ping, handler, thread=True)
    assert await bus.emit(Ping()) == Outcome()


async def test_what_cannot_be_called_cannot_be_subscribed(bus: EventBus) -> None:
    thing: Any = "on_ping"
    for subscribe in (bus.on, bus.observe):
        with pytest.raises(SubscriptionError, match="on_ping"):
            subscribe(Ping, thing)


async def test_a_misspelt_option_is_refused(bus: EventBus) -> None:
    """An option that is silently ignored is an order, a limit or a filter that is silently not there."""
    options: Any = {"priorty": 5}
    with pytest.raises(TypeError, match="priorty"):
        bus.on(Ping, lambda _event: None, **options)


async def test_an_unknown_value_of_on_error_is_refused(bus: EventBus) -> None:
    options: Any = {"on_error": "ignore"}
    with pytest.raises(SubscriptionError, match="on_error"):
        bus.on(Ping, lambda _event: None, **options)
