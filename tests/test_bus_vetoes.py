"""Vetoes: what counts as one, from whom, and what becomes of the rest."""

import logging
from typing import Any

import pytest

from eventinit import Event, EventBus, Veto, VetoableEvent, VetoRecord
from eventinit.errors import HandlerError, VetoError

pytestmark = pytest.mark.anyio


class Question(VetoableEvent):
    """An event that can be vetoed."""


class BigQuestion(Question):
    """Another, which derives from the first."""


class Statement(Event):
    """An event that cannot be vetoed."""


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test."""
    return EventBus()


def subscribe(bus: EventBus, kind: type[Event], value: object, name: str = "handler", **options: Any) -> None:
    """Subscribe a handler that returns a value."""

    def handler(_event: Event) -> Any:
        return value

    bus.on(kind, handler, name=name, **options)


async def test_false_is_a_veto_without_a_reason(bus: EventBus) -> None:
    subscribe(bus, Question, value=False)
    outcome = await bus.emit(Question())
    assert outcome.vetoed
    assert [veto.handler for veto in outcome.vetoes] == ["handler"]


async def test_a_veto_has_its_reason_handler_and_priority(bus: EventBus) -> None:
    subscribe(bus, Question, Veto("the image carries the weights"), "baked_in", priority=3)
    outcome = await bus.emit(Question())
    assert outcome.vetoes == (VetoRecord("the image carries the weights", "baked_in", 3),)
    assert "baked_in" in str(outcome.vetoes[0])
    assert "the image carries the weights" in str(outcome.vetoes[0])


@pytest.mark.parametrize("value", [None, True])
async def test_none_and_true_are_no_veto(bus: EventBus, value: object) -> None:
    subscribe(bus, Question, value)
    assert not (await bus.emit(Question())).vetoed


@pytest.mark.parametrize("thread", [False, True])
async def test_async_and_thread_handlers_veto_too(bus: EventBus, thread: bool) -> None:
    if thread:
        bus.on(Question, lambda _event: False, thread=True)
    else:

        @bus.on(Question)
        async def no(_event: Question) -> bool:
            return False

    assert (await bus.emit(Question())).vetoed


async def test_all_handlers_run_after_a_veto_and_every_veto_is_recorded_in_order(bus: EventBus) -> None:
    ran: list[str] = []
    subscribe(bus, Question, Veto("first"), "one", priority=1)
    bus.on(Question, lambda _event: ran.append("middle"))
    subscribe(bus, Question, True, "overrules")
    subscribe(bus, Question, False, "two")
    outcome = await bus.emit(Question())
    assert ran == ["middle"]
    assert [(veto.handler, veto.priority) for veto in outcome.vetoes] == [("one", 1), ("two", 0)]


@pytest.mark.parametrize("value", [0, 1, "no", [], {}, (False,)], ids=repr)
async def test_any_other_value_is_an_error_that_says_what_to_return(bus: EventBus, value: object) -> None:
    subscribe(bus, Question, value, "confused")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Question())
    cause = caught.value.__cause__
    assert isinstance(cause, VetoError)
    assert cause.value == value
    for part in ("confused", repr(value), "Question", "None, False or Veto"):
        assert part in str(cause)


@pytest.mark.parametrize("value", [0, "no"])
async def test_another_value_is_an_error_where_no_veto_is_allowed_too(bus: EventBus, value: object) -> None:
    subscribe(bus, Statement, value, "confused")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Statement())
    assert isinstance(caught.value.__cause__, VetoError)


async def test_the_error_for_another_value_does_not_call_it_a_veto(bus: EventBus) -> None:
    subscribe(bus, Statement, 42, "confused")
    with pytest.raises(HandlerError, match="42"):
        await bus.emit(Statement())


async def test_a_veto_of_what_cannot_be_vetoed_is_an_error(bus: EventBus) -> None:
    ran: list[str] = []
    subscribe(bus, Statement, Veto("no"), "denier")
    bus.on(Statement, lambda _event: ran.append("next"))
    with pytest.raises(HandlerError, match=r"denier.*Statement.*cannot be vetoed") as caught:
        await bus.emit(Statement())
    assert isinstance(caught.value.__cause__, VetoError)
    assert ran == ["next"]


async def test_false_where_no_veto_is_allowed_is_one_warning_that_names_the_handler(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(bus, Statement, False, "careless")
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        for _ in range(3):
            assert not (await bus.emit(Statement())).vetoed
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "careless" in warnings[0]
    assert "Statement" in warnings[0]


async def test_a_subscription_to_a_vetoable_base_may_veto_what_derives_from_it(bus: EventBus) -> None:
    subscribe(bus, Question, value=False)
    assert (await bus.emit(BigQuestion())).vetoed


async def test_a_subscription_to_all_vetoable_events_may_veto(bus: EventBus) -> None:
    subscribe(bus, VetoableEvent, value=False)
    assert (await bus.emit(Question())).vetoed


async def test_false_from_a_subscription_to_every_event_vetoes_nothing(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    """An audit that returns what it logged must not stop a download."""
    subscribe(bus, Event, False, "audit")
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        assert not (await bus.emit(Question())).vetoed
    assert "audit" in caplog.text


async def test_a_veto_from_a_subscription_to_every_event_is_an_error_that_names_the_class_to_subscribe_to(
    bus: EventBus,
) -> None:
    subscribe(bus, Event, Veto("no"), "audit")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Question())
    message = str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, VetoError)
    assert "audit" in message
    assert "Question, which cannot be vetoed" not in message


async def test_vetoes_of_an_event_whose_other_handler_failed_do_not_hide_the_failure(bus: EventBus) -> None:
    subscribe(bus, Question, value=False)

    @bus.on(Question)
    def broken(_event: Question) -> None:
        raise KeyError("x")

    with pytest.raises(HandlerError, match="broken"):
        await bus.emit(Question())
