"""Blinker receivers that other code connects to one of the bus's signals."""

import gc
from typing import Any

import pytest

from eventinit import Event, EventBus, VetoableEvent
from eventinit.errors import HandlerError, SubscriptionError
from eventinit.handler import HandlerSubscription

pytestmark = pytest.mark.anyio


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
    """Give a list in which receivers note that they ran."""
    return []


async def test_a_receiver_is_called_with_the_bus_and_the_event(bus: EventBus) -> None:
    seen: list[tuple[object, Event]] = []

    def receiver(sender: object, *, event: Ping) -> None:
        seen.append((sender, event))

    bus.signal(Ping).connect(receiver)
    ping = LoudPing(n=1)
    await bus.emit(ping)
    assert seen == [(bus, ping)]


async def test_an_async_receiver_is_awaited(bus: EventBus, calls: list[str]) -> None:
    async def receiver(_sender: object, *, event: Ping) -> None:
        calls.append(str(event.n))

    bus.signal(Ping).connect(receiver)
    await bus.emit(Ping(n=3))
    assert calls == ["3"]


async def test_receivers_take_their_place_among_handlers_with_priority_zero(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("receiver")

    def base_receiver(_sender: object, *, event: Event) -> None:
        calls.append("base receiver")

    bus.on(Ping, lambda _event: calls.append("before"))
    bus.signal(Event).connect(base_receiver)
    bus.signal(Ping).connect(receiver)
    bus.on(Ping, lambda _event: calls.append("after"))
    bus.on(Ping, lambda _event: calls.append("last"), priority=-1)
    bus.on(Ping, lambda _event: calls.append("first"), priority=1)
    await bus.emit(Ping())
    assert calls == ["first", "before", "base receiver", "receiver", "after", "last"]


async def test_a_receiver_keeps_its_place_when_it_leaves_another_signal(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Event) -> None:
        calls.append("receiver")

    bus.on(Ping, lambda _event: calls.append("first"))
    bus.on(Ping, lambda _event: calls.append("second"))
    bus.signal(Ping).connect(receiver)
    bus.signal(Question).connect(receiver)
    bus.signal(Question).disconnect(receiver)
    await bus.emit(Ping())
    assert calls == ["first", "second", "receiver"]


async def test_a_weak_receiver_is_not_kept_alive(bus: EventBus, calls: list[str]) -> None:
    class Listener:
        def receive(self, _sender: object, *, event: Ping) -> None:
            calls.append("heard")

    listener = Listener()
    bus.signal(Ping).connect(listener.receive)
    await bus.emit(Ping())
    del listener
    gc.collect()
    await bus.emit(Ping())
    assert calls == ["heard"]


async def test_a_strong_receiver_stays(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("heard")

    bus.signal(Ping).connect(receiver, weak=False)
    del receiver
    gc.collect()
    await bus.emit(Ping())
    assert calls == ["heard"]


async def test_a_disconnected_receiver_gets_nothing(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("heard")

    bus.signal(Ping).connect(receiver)
    await bus.emit(Ping())
    bus.signal(Ping).disconnect(receiver)
    await bus.emit(Ping())
    assert calls == ["heard"]


async def test_connected_to_ends_only_its_own_receiver(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("receiver")

    bus.on(Ping, lambda _event: calls.append("handler"))
    with bus.signal(Ping).connected_to(receiver):
        await bus.emit(Ping())
    await bus.emit(Ping())
    assert calls == ["handler", "receiver", "handler"]


async def test_a_receiver_for_another_sender_gets_nothing(bus: EventBus, calls: list[str]) -> None:
    def mine(_sender: object, *, event: Ping) -> None:
        calls.append("mine")

    def others(_sender: object, *, event: Ping) -> None:
        calls.append("others")

    bus.signal(Ping).connect(mine, sender=bus)
    bus.signal(Ping).connect(others, sender=EventBus())
    await bus.emit(Ping())
    assert calls == ["mine"]


async def test_a_receiver_may_veto(bus: EventBus) -> None:
    def receiver(_sender: object, *, event: Question) -> bool:
        return False

    bus.signal(Question).connect(receiver)
    outcome = await bus.emit(Question())
    assert [veto.handler for veto in outcome.vetoes] == ["receiver"]


async def test_a_receiver_that_fails_stops_no_other_and_is_named(bus: EventBus, calls: list[str]) -> None:
    def broken(_sender: object, *, event: Ping) -> None:
        raise KeyError("x")

    bus.signal(Ping).connect(broken)
    bus.on(Ping, lambda _event: calls.append("after"))
    with pytest.raises(HandlerError, match="broken"):
        await bus.emit(Ping())
    assert calls == ["after"]


async def test_a_raw_send_reaches_handlers_of_the_bus(bus: EventBus, calls: list[str]) -> None:
    bus.on(Ping, lambda event: calls.append(str(event.n)))
    bus.signal(Ping).send(bus, event=Ping(n=7))
    assert calls == ["7"]


async def test_a_signal_belongs_to_one_event_class(bus: EventBus) -> None:
    assert bus.signal(Ping) is bus.signal(Ping)
    assert bus.signal(Ping) is not bus.signal(LoudPing)
    thing: Any = "Ping"
    with pytest.raises(SubscriptionError):
        bus.signal(thing)


def calls_of(bus: EventBus) -> dict[str, int]:
    """Return how many events each subscriber has been given."""
    return {status.name: status.calls for status in bus.subscribers()}


async def test_muting_a_signal_mutes_its_receivers_and_not_the_handlers_of_the_bus(
    bus: EventBus, calls: list[str]
) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("receiver")

    def base_receiver(_sender: object, *, event: Event) -> None:
        calls.append("base receiver")

    bus.on(Ping, lambda _event: calls.append("handler"))
    bus.signal(Ping).connect(receiver)
    bus.signal(Event).connect(base_receiver)
    with bus.signal(Ping).muted():
        await bus.emit(Ping())
    assert calls == ["handler", "base receiver"]
    await bus.emit(Ping())
    assert calls[2:] == ["handler", "receiver", "base receiver"]


async def test_a_muted_receiver_is_given_nothing_and_so_counts_nothing(bus: EventBus) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        return

    bus.signal(Ping).connect(receiver)
    await bus.emit(Ping())
    with bus.signal(Ping).muted():
        await bus.emit(Ping())
    assert calls_of(bus) == {"receiver": 1}


class Listener:
    """An object whose method is connected."""

    heard = 0

    def receive(self, _sender: object, *, event: Ping) -> None:
        self.heard += 1


async def test_a_dead_receiver_is_skipped_and_listed_no_more(bus: EventBus) -> None:
    listener, other = Listener(), Listener()
    bus.signal(Ping).connect(listener.receive)
    bus.signal(Ping).connect(other.receive)
    await bus.emit(Ping())
    del listener
    gc.collect()
    assert calls_of(bus) == {"Listener.receive": 1}
    await bus.emit(Ping())
    assert other.heard == 2
    assert len(bus.subscribers()) == 1


def connect_all(bus: EventBus, listeners: list[Listener]) -> None:
    for listener in listeners:
        bus.signal(Ping).connect(listener.receive)


def entries_in_memory() -> int:
    gc.collect()
    return sum(type(thing) is HandlerSubscription for thing in gc.get_objects())


async def test_dead_receivers_leave_nothing_in_memory(bus: EventBus) -> None:
    """A program that connects a receiver for each request must not grow with each request."""
    before = entries_in_memory()
    listeners = [Listener() for _ in range(50)]
    connect_all(bus, listeners)
    await bus.emit(Ping())
    assert entries_in_memory() == before + 50
    listeners.clear()
    gc.collect()
    bus.on(Ping, lambda _event: None)
    await bus.emit(Ping())
    assert entries_in_memory() == before + 1


async def test_a_receiver_may_die_during_an_emit(bus: EventBus, calls: list[str]) -> None:
    listeners = [Listener()]

    def let_go(_event: Ping) -> None:
        listeners.clear()
        gc.collect()

    bus.on(Ping, let_go)
    bus.signal(Ping).connect(listeners[0].receive)
    bus.on(Ping, lambda _event: calls.append("after"))
    await bus.emit(Ping())
    assert calls == ["after"]


async def test_connected_to_leaves_the_subscriptions_of_the_same_function_alone(
    bus: EventBus, calls: list[str]
) -> None:
    def function(sender_or_event: object, *, event: Ping | None = None) -> None:
        calls.append("as a receiver" if event else "as a handler")

    bus.on(Ping, function)
    bus.on(LoudPing, function)
    with bus.signal(Ping).connected_to(function):
        await bus.emit(LoudPing())
    assert calls == ["as a handler", "as a handler", "as a receiver"]
    await bus.emit(LoudPing())
    assert calls[3:] == ["as a handler", "as a handler"]


async def test_a_receiver_of_two_senders_goes_on_when_it_leaves_the_other(bus: EventBus, calls: list[str]) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("heard")

    signal, other = bus.signal(Ping), EventBus()
    signal.connect(receiver, sender=bus)
    signal.connect(receiver, sender=other)
    await bus.emit(Ping())
    signal.disconnect(receiver, sender=other)
    await bus.emit(Ping())
    assert calls == ["heard", "heard"]
    signal.disconnect(receiver, sender=bus)
    await bus.emit(Ping())
    assert calls == ["heard", "heard"]


@pytest.mark.parametrize("change", ["disconnects another sender", "connects another sender", "connects again"])
async def test_a_receiver_keeps_its_place_and_count_when_it(bus: EventBus, calls: list[str], change: str) -> None:
    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("receiver")

    signal, other = bus.signal(Ping), EventBus()
    signal.connect(receiver, sender=bus)
    if change == "disconnects another sender":
        signal.connect(receiver, sender=other)
    bus.on(Ping, lambda _event: calls.append("handler"), name="handler")
    await bus.emit(Ping())
    if change == "disconnects another sender":
        signal.disconnect(receiver, sender=other)
    else:
        signal.connect(receiver, sender=other if change == "connects another sender" else bus)
    await bus.emit(Ping())
    assert calls == ["receiver", "handler", "receiver", "handler"]
    assert calls_of(bus) == {"receiver": 2, "handler": 2}


async def test_a_receiver_disconnected_during_an_emit_is_not_called_any_more(bus: EventBus, calls: list[str]) -> None:
    """As with a subscription that is cancelled, and as blinker has it."""

    def receiver(_sender: object, *, event: Ping) -> None:
        calls.append("receiver")

    bus.on(Ping, lambda _event: bus.signal(Ping).disconnect(receiver))
    bus.signal(Ping).connect(receiver)
    bus.on(Ping, lambda _event: calls.append("after"))
    await bus.emit(Ping())
    assert calls == ["after"]
