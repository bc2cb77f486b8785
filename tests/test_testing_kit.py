"""What ``eventinit.testing`` gives to tests: a recorder of events, and time that stands still."""

import time
from collections.abc import Callable

import anyio
import pytest

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, Veto, VetoableEvent, initialize_node
from eventinit.errors import HandlerError
from eventinit.events import PhaseFailed, PostDownload, PostInitialization, PreDownload, PreInitialization
from eventinit.testing import Fakes, Recorder, frozen_time, record

pytestmark = pytest.mark.anyio


class Ping(Event):
    n: int = 0


class LoudPing(Ping):
    pass


class Pong(Event):
    pass


class Question(VetoableEvent):
    pass


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


async def emit_later(bus: EventBus, *events: Event) -> None:
    """Emit once whoever waits has begun to wait."""
    for event in events:
        await anyio.wait_all_tasks_blocked()
        await bus.emit(event)


async def test_a_recorder_has_every_event_in_order_without_the_bus_being_open(bus: EventBus) -> None:
    emitted = [Ping(n=1), Pong(), LoudPing(n=2), Ping(n=3)]
    with record(bus) as events:
        for event in emitted:
            await bus.emit(event)
    assert events.events == emitted
    assert events.of(Ping) == [Ping(n=1), LoudPing(n=2), Ping(n=3)]
    assert events.of(LoudPing) == [LoudPing(n=2)]
    assert events.of(Question) == []


async def test_a_recorder_of_a_class_has_that_class_and_what_derives_from_it(bus: EventBus) -> None:
    with record(bus, Ping) as events:
        for event in (Ping(), Pong(), LoudPing()):
            await bus.emit(event)
    assert events.events == [Ping(), LoudPing()]


async def test_a_recorder_ends_with_its_block_and_keeps_what_it_has(bus: EventBus) -> None:
    await bus.emit(Ping(n=0))
    kept: list[Recorder] = []

    async def fail() -> None:
        with record(bus) as events:
            kept.append(events)
            await bus.emit(Ping(n=1))
            [status] = bus.subscribers()
            assert (status.kind, status.calls) == ("recorder", 1)
            raise KeyError("the test fails")

    with pytest.raises(KeyError):
        await fail()
    await bus.emit(Ping(n=2))
    assert bus.subscribers() == ()
    assert kept[0].events == [Ping(n=1)]


async def test_two_recorders_of_one_bus_are_independent(bus: EventBus) -> None:
    with record(bus) as everything, record(bus, Pong) as pongs:
        await bus.emit(Ping())
        await bus.emit(Pong())
        await everything.expect(Pong)
        await pongs.expect(Pong)
    assert (len(everything.events), len(pongs.events)) == (2, 1)


async def test_events_are_recorded_in_the_order_in_which_their_emits_ended(bus: EventBus) -> None:
    @bus.on(Ping)
    async def nest(_event: Ping) -> None:
        await bus.emit(Pong())

    with record(bus) as events:
        await bus.emit(Ping())
    assert events.events == [Pong(), Ping()]


async def test_a_context_is_recorded_as_it_was_then(bus: EventBus) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    with record(bus) as events:
        context.custom_data["n"] = 1
        await bus.emit(PreDownload(context=context))
        context.custom_data["n"] = 2
    assert events.of(PreDownload)[0].context.custom_data == {"n": 1}


async def test_a_cancelled_emit_is_recorded(bus: EventBus) -> None:
    @bus.on(Ping)
    async def hang(_event: Ping) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with record(bus) as events, anyio.CancelScope() as scope:
        await bus.emit(Ping())
    assert events.events == [Ping()]
    assert events.errors() == []


async def test_expect_returns_what_is_recorded_already_without_waiting(bus: EventBus) -> None:
    with record(bus) as events:
        await bus.emit(Ping(n=1))
        assert await events.expect(Ping, within_s=0) == Ping(n=1)


async def test_expect_works_after_the_block_as_well(bus: EventBus) -> None:
    with record(bus) as events:
        await bus.emit(Ping(n=1))
    assert await events.expect(Ping, within_s=0) == Ping(n=1)


async def test_expect_waits_for_what_is_still_to_come(bus: EventBus) -> None:
    with record(bus) as events:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(emit_later, bus, Ping(n=1), LoudPing(n=2))
            assert await events.expect(LoudPing, within_s=10) == LoudPing(n=2)


async def test_a_series_of_expects_is_a_series_of_events(bus: EventBus) -> None:
    with record(bus) as events:
        for n in range(3):
            await bus.emit(Ping(n=n))
            await bus.emit(Pong())
        assert [(await events.expect(Ping)).n for _ in range(2)] == [0, 1]
        await events.expect(Pong)
        assert (await events.expect(Ping)).n == 2
        with pytest.raises(AssertionError, match=r"no Ping within 0 s; recorded: Pong$"):
            await events.expect(Ping, within_s=0)
        await events.expect(Pong)


async def test_where_says_which_event_is_expected(bus: EventBus) -> None:
    with record(bus) as events:
        for n in range(4):
            await bus.emit(Ping(n=n))
        assert await events.expect(Ping, where=lambda event: event.n == 2) == Ping(n=2)
        with pytest.raises(AssertionError, match=r"recorded: Ping$"):
            await events.expect(Ping, where=lambda event: event.n == 1, within_s=0)


async def test_an_event_that_does_not_come_is_an_error_that_names_what_came(bus: EventBus) -> None:
    with record(bus) as events:
        with pytest.raises(AssertionError, match=r"no Pong within 0\.01 s; recorded: nothing"):
            await events.expect(Pong, within_s=0.01)
        await bus.emit(Ping())
        await bus.emit(LoudPing())
        with pytest.raises(AssertionError, match=r"no Pong within 0\.01 s; recorded: Ping, LoudPing$"):
            await events.expect(Pong, within_s=0.01)
        assert isinstance(await events.expect(Ping), Ping)


async def test_an_expect_that_is_cancelled_takes_nothing_away(bus: EventBus) -> None:
    with record(bus) as events:
        await bus.emit(Ping(n=1))
        with anyio.move_on_after(0.01):
            await events.expect(Pong, within_s=10)
        assert await events.expect(Ping, within_s=0) == Ping(n=1)


async def test_events_in_this_order_may_have_others_between_them(bus: EventBus) -> None:
    with record(bus) as events:
        for event in (Ping(), Pong(), Question(), LoudPing()):
            await bus.emit(event)
    events.assert_order()
    events.assert_order(Ping, Question)
    events.assert_order(Ping, Pong, Question, LoudPing)
    events.assert_order(Ping, Ping)
    events.assert_order(Event, Event, Event, Event)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((Pong, Ping, Ping), r"no Ping after Ping; recorded: Ping, Pong, LoudPing"),
        ((LoudPing, Pong), r"no Pong after LoudPing; recorded: Ping, Pong, LoudPing"),
        ((Question,), r"no Question; recorded: Ping, Pong, LoudPing"),
        ((Pong, Pong), r"no Pong after Pong; recorded: Ping, Pong, LoudPing"),
    ],
)
async def test_events_in_another_order_are_an_error_that_names_them(
    bus: EventBus, order: tuple[type[Event], ...], message: str
) -> None:
    with record(bus) as events:
        for event in (Ping(), Pong(), LoudPing()):
            await bus.emit(event)
    with pytest.raises(AssertionError, match=message):
        events.assert_order(*order)


async def test_what_never_came_and_what_came(bus: EventBus) -> None:
    with record(bus) as events:
        events.assert_never(Event)
        await bus.emit(LoudPing(n=4))
    events.assert_never(Pong)
    for kind in (LoudPing, Ping, Event):
        with pytest.raises(AssertionError, match=r"LoudPing\(n=4\) came; recorded: LoudPing"):
            events.assert_never(kind)


@pytest.fixture
def vetoes(bus: EventBus) -> None:
    bus.on(Question, lambda _event: Veto("not today"), name="no", priority=1)
    bus.on(Question, lambda _event: False, name="never")


async def test_a_veto_is_found_by_handler_and_reason(bus: EventBus, vetoes: None) -> None:
    with record(bus) as events:
        await bus.emit(Question())
    events.assert_vetoed(Question)
    events.assert_vetoed(Question, by="never")
    events.assert_vetoed(Question, reason="not today")
    events.assert_vetoed(VetoableEvent, by="no", reason="not today")
    assert [(veto.handler, veto.priority) for veto in events.vetoes_of(Question)] == [("no", 1), ("never", 0)]
    for wanted in ({"by": "nobody"}, {"reason": "why"}, {"by": "never", "reason": "not today"}):
        with pytest.raises(AssertionError, match="its vetoes: no: not today; never: no reason given; recorded: Quest"):
            events.assert_vetoed(Question, **wanted)
    with pytest.raises(AssertionError, match="Question was vetoed: no: not today; never: no reason given"):
        events.assert_not_vetoed(Question)


async def test_what_nobody_vetoed(bus: EventBus) -> None:
    with record(bus) as events:
        with pytest.raises(AssertionError, match="no Question; recorded: nothing"):
            events.assert_not_vetoed(Question)
        await bus.emit(Question())
    events.assert_not_vetoed(Question)
    with pytest.raises(AssertionError, match=r"no veto of Question; its vetoes: none; recorded: Question"):
        events.assert_vetoed(Question)


async def test_errors_are_what_the_recorded_emits_raised(bus: EventBus) -> None:
    def fails(event: Ping) -> None:
        if event.n:
            raise KeyError(event.n)

    bus.on(Ping, fails)
    bus.on(LoudPing, fails, on_error="log")
    with record(bus) as events:
        await bus.emit(Ping(n=0))
        with pytest.raises(HandlerError) as raised:
            await bus.emit(Ping(n=1))
    assert events.errors() == [raised.value]


async def test_a_start_is_recorded_with_its_vetoes(bus: EventBus) -> None:
    bus.on(PreDownload, lambda _event: Veto("baked in"), name="baked")
    with record(bus) as events:
        async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes().backends()):
            await events.expect(PostInitialization, within_s=10)
    events.assert_order(PreInitialization, PreDownload, PostDownload, PostInitialization)
    events.assert_vetoed(PreDownload, by="baked", reason="baked in")
    events.assert_not_vetoed(PreInitialization)
    events.assert_never(PhaseFailed)


async def test_the_clock_stands_still_where_it_was_put_and_moves_when_told() -> None:
    with frozen_time(at=1000) as clock:
        assert (clock.now(), clock.now()) == (1000, 1000)
        began = clock.monotonic()
        clock.advance(2.5)
        clock.advance(0)
        assert (clock.now(), clock.monotonic() - began) == (1002.5, 2.5)


async def test_the_clock_stands_at_the_present_unless_told_otherwise() -> None:
    before = time.time()
    with frozen_time() as clock:
        assert before <= clock.now() <= time.time()
    with frozen_time(at=0) as clock:
        assert clock.now() == 0


async def test_time_does_not_go_back() -> None:
    with frozen_time(at=1000) as clock:
        with pytest.raises(ValueError, match="cannot go back by 1 s; give seconds of 0 or more"):
            clock.advance(-1)
        assert clock.now() == 1000


def pre_download() -> PreDownload:
    return PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m")))


async def test_time_goes_on_after_the_block_also_after_an_error_and_from_block_to_block() -> None:
    def fail() -> None:
        with frozen_time(at=2000):
            assert pre_download().at == 2000
            raise ZeroDivisionError

    with frozen_time(at=1000):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert pre_download().at == 1000
    before = time.time()
    assert before <= pre_download().at <= time.time()


async def test_events_and_changes_carry_the_frozen_time(bus: EventBus) -> None:
    def change(event: PreDownload) -> None:
        clock.advance(0.0625)
        event.context.custom_data["n"] = 1

    bus.on(PreDownload, change)
    with frozen_time(at=1000) as clock:
        event = pre_download()
        outcome = await bus.emit(event)
    assert event.at == 1000
    assert [change.at for change in outcome.changes] == [1000.0625]
    assert outcome.durations == (("change", 0.0625),)


async def test_durations_have_what_was_let_pass_in_each_handler(bus: EventBus) -> None:
    def lasting(seconds: float) -> Callable[[PreDownload], None]:
        return lambda _event: clock.advance(seconds)

    with frozen_time() as clock:
        for seconds in (0.03125, 0, 0.0625):
            bus.on(PreDownload, lasting(seconds), name=str(seconds))
        outcome = await bus.emit(pre_download())
    assert outcome.durations == (("0.03125", 0.03125), ("0", 0), ("0.0625", 0.0625))


async def test_the_timeline_of_a_start_has_what_was_let_pass(bus: EventBus) -> None:
    async def slowly(_event: PreDownload) -> None:
        clock.advance(7)

    bus.on(PreDownload, slowly)
    fakes = Fakes()
    fakes.source.seconds = fakes.engine.seconds = 0.01
    with frozen_time(at=1000) as clock:
        async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=fakes.backends()) as node:
            download, engine = node.timeline.span("download"), node.timeline.span("engine_init")
    assert download is not None
    assert engine is not None
    assert (download.began_s, download.ended_s, download.seconds) == (0, 7, 7)
    assert (engine.began_s, engine.seconds) == (7, 0)


@pytest.mark.parametrize("at", [None, 1000.0])
async def test_what_was_measured_from_before_the_block_makes_sense(bus: EventBus, at: float | None) -> None:
    """A block may begin while events wait, handlers run or phases last."""
    stream = bus.stream(Ping)
    await bus.emit(Ping())
    with frozen_time(at=at):
        lag_s = bus.subscribers()[0].lag_s
    stream.cancel()
    assert 0 <= lag_s < 60


async def test_what_is_measured_from_within_the_block_makes_sense_after_it(bus: EventBus) -> None:
    stream = bus.stream(Ping)
    with frozen_time():
        await bus.emit(Ping())
    lag_s = bus.subscribers()[0].lag_s
    stream.cancel()
    assert 0 <= lag_s < 60
