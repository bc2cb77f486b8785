"""``bus.subscribers()``: who is there, and how each is doing."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import anyio
import pytest

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, SubscriberStatus, Subscription
from eventinit.errors import HandlerError
from eventinit.events import PreDownload
from eventinit.testing import frozen_time, record
from tests.pings import LoudPing, Other, Ping, emit

pytestmark = pytest.mark.anyio


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


def named(bus: EventBus, name: str) -> SubscriberStatus:
    [status] = [status for status in bus.subscribers() if status.name == name]
    return status


def counts(bus: EventBus) -> dict[str, int]:
    return {status.name: status.calls for status in bus.subscribers()}


def nothing(_event: Event) -> None:
    """Take part without doing anything."""


def pre_download() -> PreDownload:
    return PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m")))


async def test_a_handler_has_as_many_calls_as_events_came_since_it_was_subscribed(bus: EventBus) -> None:
    """Whoever subscribes makes the bus plan anew, and what was counted before must not be lost or counted twice."""
    for n in range(4):
        bus.on(Ping, nothing, name=str(n))
        await emit(bus, 0, 1)
    assert counts(bus) == {"0": 8, "1": 6, "2": 4, "3": 2}
    assert counts(bus) == {"0": 8, "1": 6, "2": 4, "3": 2}


async def test_a_handler_of_a_base_class_counts_the_events_of_every_class_below(bus: EventBus) -> None:
    for kind in (Event, Ping, LoudPing, Other):
        bus.on(kind, nothing, name=kind.__name__)
    for event in (Ping(), LoudPing(), LoudPing(), Other(), pre_download()):
        await bus.emit(event)
    assert counts(bus) == {"Event": 5, "Ping": 3, "LoudPing": 2, "Other": 1}


async def test_handlers_that_a_cancelled_emit_did_not_reach_have_no_call_of_it(bus: EventBus) -> None:
    @bus.on(Ping, name="hangs")
    async def hangs(event: Ping) -> None:
        if event.n == 1:
            scope.cancel()
            await anyio.sleep_forever()

    bus.on(Ping, nothing, name="before", priority=1)
    bus.on(Ping, nothing, name="after", priority=-1)
    with anyio.CancelScope() as scope:
        await emit(bus, 0, 1)
    assert counts(bus) == {"before": 2, "hangs": 2, "after": 1}
    await emit(bus, 2)
    assert counts(bus) == {"before": 3, "hangs": 3, "after": 2}


async def test_counts_hold_when_an_emit_is_cancelled_after_the_plan_has_changed(bus: EventBus) -> None:
    hanging = anyio.Event()

    @bus.on(Ping)
    async def hangs(event: Ping) -> None:
        if event.n == 0:
            hanging.set()
            await anyio.sleep_forever()

    bus.on(Ping, nothing, name="after")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(emit, bus, 0)
        with anyio.fail_after(10):
            await hanging.wait()
        bus.on(Ping, nothing, name="new")
        await emit(bus, 1)
        tasks.cancel_scope.cancel()
    assert sorted(each.calls for each in bus.subscribers()) == [1, 1, 2]
    assert named(bus, "after").calls == named(bus, "new").calls == 1


async def test_a_handler_cancelled_during_an_emit_has_no_call_of_it(bus: EventBus) -> None:
    later: list[Subscription] = []
    bus.on(Ping, lambda event: later[0].cancel() if event.n else None, name="first")
    later.append(bus.on(Ping, nothing, name="later"))
    bus.on(Ping, nothing, name="last")
    await emit(bus, 0, 1)
    assert later[0].status().calls == 1
    assert counts(bus) == {"first": 2, "last": 2}


async def test_a_handler_cancelled_during_an_emit_that_is_cancelled_too_has_no_call_of_it(bus: EventBus) -> None:
    later: list[Subscription] = []

    @bus.on(Ping)
    async def hangs(_event: Ping) -> None:
        later[0].cancel()
        scope.cancel()
        await anyio.sleep_forever()

    later.append(bus.on(Ping, nothing, name="later"))
    with anyio.CancelScope() as scope:
        await emit(bus, 0)
    assert later[0].status().calls == 0
    assert [status.calls for status in bus.subscribers()] == [1]


async def test_events_that_where_turns_away_are_not_counted(bus: EventBus) -> None:
    bus.on(Ping, nothing, name="odd", where=lambda event: event.n % 2 == 1)
    bus.on(Event, nothing, name="audited odd", where=lambda event: isinstance(event, PreDownload))
    await emit(bus, *range(5))
    await bus.emit(pre_download())
    assert counts(bus) == {"odd": 2, "audited odd": 1}


async def test_a_filter_that_fails_is_a_call_that_failed(bus: EventBus) -> None:
    bus.on(Ping, nothing, name="broken", where=lambda event: 1 // event.n > 0, on_error="log")
    await emit(bus, 0, 1)
    assert (named(bus, "broken").calls, named(bus, "broken").failures) == (2, 1)


async def test_a_handler_for_once_has_one_call(bus: EventBus) -> None:
    once = bus.on(Ping, nothing, once=True, where=lambda event: event.n == 1)
    bus.on(Ping, nothing, name="always")
    await emit(bus, 0)
    assert [status.calls for status in bus.subscribers()] == [0, 1]
    await emit(bus, 1, 1)
    assert once.status().calls == 1
    assert counts(bus) == {"always": 3}


async def test_a_handler_for_once_has_one_call_of_two_emits_at_once(bus: EventBus) -> None:
    both_began, go_on = anyio.Event(), anyio.Event()
    waiting: list[int] = []

    @bus.on(Ping, priority=1)
    async def gate(event: Ping) -> None:
        waiting.append(event.n)
        if len(waiting) == 2:
            both_began.set()
        await go_on.wait()

    once = bus.on(Ping, nothing, once=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(emit, bus, 0)
        tasks.start_soon(emit, bus, 1)
        with anyio.fail_after(10):
            await both_began.wait()
        go_on.set()
    assert once.status().calls == 1
    assert [status.calls for status in bus.subscribers()] == [2]


async def test_nested_emits_are_counted_each(bus: EventBus) -> None:
    @bus.on(Ping)
    async def nest(event: Ping) -> None:
        if event.n < 3:
            bus.on(Other, nothing)
            await bus.emit(LoudPing(n=event.n + 1))

    bus.on(Ping, nothing, name="after")
    await emit(bus, 0)
    assert named(bus, "after").calls == 4


async def test_a_handler_has_no_call_of_an_event_that_is_still_with_the_handler_before_it(bus: EventBus) -> None:
    """A page that shows the counts while a handler takes minutes would show the next one as called."""
    seen: list[int] = []
    bus.on(Ping, lambda _event: seen.append(named(bus, "second").calls))
    bus.on(Ping, nothing, name="second")
    await emit(bus, 0, 1)
    assert seen == [0, 1]


@pytest.mark.parametrize("wanted", [0, 1])
async def test_a_handlers_own_status_is_what_the_bus_tells(bus: EventBus, wanted: int) -> None:
    handler = bus.on(Ping, nothing, name="handler", where=lambda event: event.n == 1)
    other = bus.on(Ping, nothing, name="other")
    await emit(bus, wanted)
    before = [handler.status(), other.status()]
    assert before == list(bus.subscribers())


async def test_a_count_survives_a_change_that_another_thread_makes_in_the_middle_of_a_begun_emit(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking its plan up and counting itself, an emit calls a function, where another thread may come in."""
    hooks: Any = sys.get_asyncgen_hooks
    changes: list[Callable[[], object]] = [lambda: bus.on(Other, nothing, name="new")]

    def hooks_after_a_change() -> Any:
        while changes:
            changes.pop()()
        return hooks()

    bus.on(Ping, nothing, name="handler")
    await emit(bus, 0)
    monkeypatch.setattr("eventinit.emitter.get_asyncgen_hooks", hooks_after_a_change)
    await emit(bus, 1)
    assert counts(bus) == {"handler": 2, "new": 0}


async def test_failures_are_counted_and_priorities_told(bus: EventBus) -> None:
    def fails(event: Ping) -> None:
        if event.n:
            raise KeyError("x")

    bus.on(Ping, fails, name="raises", priority=7)
    bus.on(Ping, fails, name="logs", on_error="log", priority=-7)
    bus.on(Ping, lambda _event: cast("None", "no veto"), name="returns")
    for n in range(3):
        with pytest.raises(HandlerError):
            await emit(bus, n)
    told = [(each.name, each.priority, each.calls, each.failures) for each in bus.subscribers()]
    assert told == [("raises", 7, 3, 2), ("returns", 0, 3, 3), ("logs", -7, 3, 2)]


async def test_a_handlers_last_duration_is_told_for_lifecycle_events_and_not_for_plain_ones(bus: EventBus) -> None:
    bus.on(Ping, nothing, name="plain")
    with frozen_time() as clock:
        bus.on(PreDownload, lambda event: clock.advance(event.context.custom_data["s"]), name="audited")
        assert named(bus, "audited").last_duration_s is None
        await emit(bus, 0)
        for seconds in (0.03125, 0.0625):
            event = pre_download()
            event.context.custom_data["s"] = seconds
            await bus.emit(event)
    assert named(bus, "audited").last_duration_s == 0.0625
    assert named(bus, "plain").last_duration_s is None


async def test_raw_receivers_are_listed_and_keep_their_count_when_others_come_and_go(bus: EventBus) -> None:
    def receiver(_sender: object, *, event: Event) -> None:
        if isinstance(event, LoudPing):
            raise KeyError("x")

    bus.signal(Ping).connect(receiver)
    await emit(bus, 0)
    with bus.on(Ping, nothing), bus.observe(Other, nothing):
        await emit(bus, 1)
    with pytest.raises(HandlerError):
        await bus.emit(LoudPing())
    [status] = bus.subscribers()
    assert (status.kind, status.event_type, status.calls, status.failures) == ("receiver", Ping, 3, 1)


async def test_handlers_come_first_class_by_class_in_the_order_in_which_they_run(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    bus.observe(Ping, nothing)
    bus.on(Ping, nothing, name="second")
    bus.on(Other, nothing, name="of another class")
    bus.on(Ping, nothing, name="first", priority=1)
    with record(bus):
        told = [(each.kind, each.name) for each in bus.subscribers()]
    assert told == [
        ("handler", "first"),
        ("handler", "second"),
        ("handler", "of another class"),
        ("stream", "stream of Ping"),
        ("observer", "nothing"),
        ("recorder", "recorder"),
    ]
    stream.cancel()


async def test_a_cancelled_subscriber_is_not_listed(bus: EventBus) -> None:
    async with bus:
        ways: list[Any] = [
            partial(bus.on, Ping, nothing),
            partial(bus.observe, Ping, nothing),
            partial(bus.stream, Ping),
        ]
        for subscribe in ways:
            subscription = subscribe()
            assert len(bus.subscribers()) == 1
            subscription.cancel()
            assert bus.subscribers() == ()


async def test_an_observer_tells_what_it_has_queued_lost_and_for_how_long_it_lags() -> None:
    bus = EventBus(observer_queue_size=2)
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(_event: Ping) -> None:
        begun.set()
        await go_on.wait()
        clock.advance(4)

    bus.observe(Ping, slow, where=lambda event: event.n != 99)
    with frozen_time(at=1000) as clock:
        await emit(bus, 0, 99)
        clock.advance(1)
        waits = bus.subscribers()[0]
        async with bus:
            with anyio.fail_after(10):
                await begun.wait()
            await emit(bus, 1)
            clock.advance(2)
            await emit(bus, 2, 3)
            busy = bus.subscribers()[0]
            go_on.set()
        done = bus.subscribers()[0]
    assert (waits.queued, waits.calls, waits.lag_s, waits.last_duration_s) == (1, 0, 1, None)
    assert (busy.queued, busy.calls, busy.dropped, busy.lag_s, busy.last_duration_s) == (2, 1, 1, 3, None)
    assert (done.queued, done.calls, done.dropped, done.lag_s, done.last_duration_s) == (0, 3, 1, 0, 4)
    assert done.failures == 0


async def test_an_observer_that_fails_tells_how_often_and_how_long_it_took(bus: EventBus) -> None:
    @bus.observe(Ping)
    async def fails(event: Ping) -> None:
        clock.advance(event.n)
        if event.n != 2:
            raise KeyError("x")

    with frozen_time() as clock:
        async with bus:
            await emit(bus, 1, 2, 8)
    [status] = bus.subscribers()
    assert (status.calls, status.failures, status.last_duration_s, status.state) == (3, 2, 8, "live")


async def test_a_stream_tells_how_long_its_oldest_event_waits(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    with frozen_time() as clock:
        await emit(bus, 0)
        clock.advance(2)
        await emit(bus, 1)
        clock.advance(3)
        assert (named(bus, "stream of Ping").queued, named(bus, "stream of Ping").lag_s) == (2, 5)
        await anext(stream)
        assert (named(bus, "stream of Ping").queued, named(bus, "stream of Ping").lag_s) == (1, 3)


async def test_an_observer_that_was_set_aside_stays_listed_until_it_is_cancelled(bus: EventBus) -> None:
    async def fails(_event: Ping) -> None:
        raise KeyError("x")

    subscription = bus.observe(Ping, fails)
    for _ in range(2):
        async with bus:
            await emit(bus, *range(5))
        [status] = bus.subscribers()
        assert (status.kind, status.state, status.calls, status.failures, status.queued) == (
            "observer",
            "set aside",
            3,
            3,
            0,
        )
    subscription.cancel()
    assert bus.subscribers() == ()
