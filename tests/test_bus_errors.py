"""Handlers that fail: what the emitter is told, and what the others notice."""

import logging
import pickle

import pytest

from eventinit import Event, EventBus, EventInitError, LLMConfig, NodeInitializationContext
from eventinit.errors import HandlerError
from eventinit.events import PreEngineInit

pytestmark = pytest.mark.anyio


class Ping(Event):
    """A plain event."""


class ThrottledError(Exception):
    """What a handler's own code raises."""


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test."""
    return EventBus()


def fail(_event: Event) -> None:
    """Fail."""
    raise ThrottledError("try later")


async def fail_async(_event: Event) -> None:
    """Fail, too."""
    raise ThrottledError("try later")


@pytest.mark.parametrize("kind", ["plain", "async", "thread"])
async def test_a_failure_names_handler_event_and_cause(bus: EventBus, kind: str) -> None:
    bus.on(Ping, fail_async if kind == "async" else fail, name="mine", thread=kind == "thread")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    error = caught.value
    assert (error.handler, error.event, error.phase, error.also) == ("mine", "Ping", None, ())
    assert isinstance(error.__cause__, ThrottledError)
    assert isinstance(error, (EventInitError, RuntimeError))
    for part in ("mine", "Ping", "ThrottledError", "try later"):
        assert part in str(error)


async def test_a_failure_in_a_phase_names_the_phase(bus: EventBus) -> None:
    bus.on(PreEngineInit, fail)
    with pytest.raises(HandlerError, match="engine_init") as caught:
        await bus.emit(PreEngineInit(context=NodeInitializationContext(LLMConfig(model_id="m"))))
    assert caught.value.phase == "engine_init"
    assert caught.value.handler == "fail"


async def test_the_other_handlers_still_run_and_the_other_failures_are_attached(bus: EventBus) -> None:
    ran: list[str] = []
    bus.on(Ping, fail, name="first")
    bus.on(Ping, lambda _event: ran.append("between"))
    bus.on(Ping, fail_async, name="second")
    bus.on(Ping, lambda _event: ran.append("after"))
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    assert ran == ["between", "after"]
    assert caught.value.handler == "first"
    assert [type(other) for other in caught.value.also] == [HandlerError]
    assert "second" in str(caught.value.also[0])
    assert any("second" in note for note in caught.value.__notes__)


async def test_a_failure_that_is_to_be_logged_is_logged_and_goes_into_the_outcome(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    bus.on(Ping, fail, name="optional", on_error="log")
    bus.on(Ping, lambda _event: ran.append("after"))
    with caplog.at_level(logging.ERROR, logger="eventinit"):
        outcome = await bus.emit(Ping())
    assert [(error.handler, type(error.__cause__)) for error in outcome.errors] == [("optional", ThrottledError)]
    assert ran == ["after"]
    assert "optional" in caplog.text
    assert "try later" in caplog.text


async def test_a_failure_that_is_to_be_logged_does_not_hide_one_that_is_not(bus: EventBus) -> None:
    bus.on(Ping, fail, name="optional", on_error="log")
    bus.on(Ping, fail, name="needed")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    assert caught.value.handler == "needed"


async def test_a_filter_that_fails_fails_like_its_handler(bus: EventBus) -> None:
    ran: list[str] = []

    def broken(_event: Event) -> bool:
        raise ThrottledError("no filter today")

    bus.on(Ping, lambda _event: ran.append("filtered"), name="filtered", where=broken)
    bus.on(Ping, lambda _event: ran.append("after"))
    with pytest.raises(HandlerError, match="filtered"):
        await bus.emit(Ping())
    assert ran == ["after"]


async def test_a_failure_in_a_nested_emit_carries_both_handlers(bus: EventBus) -> None:
    class Inner(Event):
        """Emitted by a handler."""

    bus.on(Inner, fail, name="inner")

    @bus.on(Ping, name="outer")
    async def outer(_event: Ping) -> None:
        await bus.emit(Inner())

    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    assert caught.value.handler == "outer"
    assert isinstance(caught.value.__cause__, HandlerError)
    assert caught.value.__cause__.handler == "inner"


async def test_the_bus_works_on_after_a_failure(bus: EventBus) -> None:
    subscription = bus.on(Ping, fail)
    with pytest.raises(HandlerError):
        await bus.emit(Ping())
    subscription.cancel()
    assert (await bus.emit(Ping())).errors == ()


async def test_a_handler_error_survives_pickling(bus: EventBus) -> None:
    bus.on(Ping, fail, name="mine")
    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.handler, again.event) == (str(caught.value), "mine", "Ping")
