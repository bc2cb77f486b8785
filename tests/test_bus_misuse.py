"""What a user gets wrong at first, and what the bus says to it."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from eventinit import Event, EventBus
from eventinit.errors import BusError, HandlerError, SubscriptionError
from eventinit.events import PreDownload

pytestmark = pytest.mark.anyio


class Ping(Event):
    n: int = 0


async def yields(_event: Ping) -> AsyncIterator[int]:
    yield 1


async def later(_event: Ping) -> bool:
    return False


async def test_a_generator_is_no_handler_and_no_observer() -> None:
    """It would never run, and nobody would know."""
    generator: Any = yields
    for subscribe in (EventBus().on, EventBus().observe):
        with pytest.raises(SubscriptionError, match="yields is a generator"):
            subscribe(Ping, generator)


async def test_a_filter_that_has_to_be_awaited_is_refused() -> None:
    """Its coroutine would count as true."""
    where: Any = later
    for subscribe in (EventBus().on, EventBus().observe):
        with pytest.raises(SubscriptionError, match=r"where is .*later.*plain function"):
            subscribe(Ping, print, where=where)


def takes_none() -> None: ...


def takes_two(_event: Ping, _other: Ping) -> None: ...


@pytest.mark.parametrize("function", [takes_none, takes_two])
async def test_what_does_not_take_one_argument_is_refused_at_once(function: Any) -> None:
    for subscribe in (EventBus().on, EventBus().observe):
        with pytest.raises(SubscriptionError, match=r"takes_\w+ cannot be called with the event"):
            subscribe(Ping, function)


async def test_what_has_no_signature_is_taken_as_it_is() -> None:
    bus = EventBus()
    bus.on(Ping, list[Event]().append)
    assert not (await bus.emit(Ping())).vetoed


@pytest.mark.parametrize(
    "options",
    [{"priority": "high"}, {"timeout": 0}, {"timeout": "5"}, {"timeout": True}, {"once": 1}, {"name": 5}],
    ids=str,
)
async def test_a_value_that_an_option_cannot_have_is_refused(options: Any) -> None:
    with pytest.raises(SubscriptionError, match=r"\w+ is .*; it takes"):
        EventBus().on(Ping, print, **options)


@pytest.mark.parametrize(
    "options", [{"observer_queue_size": 0}, {"observer_queue_size": "a"}, {"drain_timeout_s": -1}], ids=str
)
async def test_a_bus_that_could_not_work_is_refused(options: Any) -> None:
    with pytest.raises(BusError, match=next(iter(options))):
        EventBus(**options)


async def test_a_class_is_not_taken_for_an_event() -> None:
    thing: Any = Ping
    with pytest.raises(BusError, match=r"a class is no event.*Ping\(\)"):
        await EventBus().emit(thing)


async def test_an_outcome_is_neither_true_nor_false() -> None:
    """`if await bus.emit(event)` would otherwise always be true."""
    outcome = await EventBus().emit(Ping())
    with pytest.raises(BusError, match=r"outcome\.vetoed"):
        bool(outcome)


async def test_an_observer_that_would_close_its_own_bus_is_refused_and_the_bus_still_closes() -> None:
    """It would wait for its own end."""
    bus, errors, closed = EventBus(), list[Exception](), anyio.Event()

    @bus.observe(Ping)
    async def close(_event: Ping) -> None:
        async with bus:
            pass
        try:
            await bus.aclose()
        except BusError as error:
            errors.append(error)
        closed.set()

    with anyio.fail_after(30):
        async with bus:
            await bus.emit(Ping())
            await closed.wait()
    assert "an observer cannot close the bus" in str(errors[0])
    assert not bus.is_open


async def test_the_first_event_that_is_lost_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """As when nobody has opened the bus."""
    bus = EventBus(observer_queue_size=2)
    bus.observe(Ping, print, name="audit")
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        for _ in range(5):
            await bus.emit(Ping())
    [record] = caplog.records
    assert "events_lost subscriber=audit" in record.message
    assert "async with bus:" in record.message


async def test_a_handler_that_hangs_can_be_found() -> None:
    bus, began = EventBus(), anyio.Event()

    @bus.on(PreDownload)
    async def stuck(_event: PreDownload) -> None:
        began.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, PreDownload())
        await began.wait()
        await anyio.sleep(0.01)
        assert bus.subscribers()[0].lag_s > 0
        tasks.cancel_scope.cancel()
    assert bus.subscribers()[0].lag_s == 0


async def test_a_timeout_is_the_cause_of_a_handlers_failure() -> None:
    bus = EventBus()

    @bus.on(Ping, timeout=0.01)
    async def stuck(_event: Ping) -> None:
        await anyio.sleep_forever()

    with pytest.raises(HandlerError) as caught:
        await bus.emit(Ping())
    assert isinstance(caught.value.__cause__, TimeoutError)
