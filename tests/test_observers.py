"""Observers: each on its own, none in anybody's way."""

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import anyio
import pytest

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, VetoableEvent
from eventinit.errors import BusError, ContextSealedError
from eventinit.events import PreDownload
from eventinit.observers import ObserverSubscription

pytestmark = pytest.mark.anyio


class Ping(Event):
    """A plain event."""

    n: int = 0


class Question(VetoableEvent):
    """An event that can be vetoed."""


class Notebook:
    """Notes the numbers of the pings it sees, and can wait for one."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._news = anyio.Event()

    async def note(self, event: Ping) -> None:
        self.seen.append(event.n)
        self._news.set()
        self._news = anyio.Event()

    async def wait_for(self, n: int) -> None:
        with anyio.fail_after(30):
            while n not in self.seen:
                await self._news.wait()


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test; it waits long for its observers, so that busy machines fail no test."""
    return EventBus(drain_timeout_s=30)


@pytest.fixture
def notebook() -> Notebook:
    """Give an observer that works."""
    return Notebook()


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Give what a hanging thread waits for; it is set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def lane(subscription: object) -> ObserverSubscription:
    """Return the subscription as what tells how the observer is doing."""
    assert isinstance(subscription, ObserverSubscription)
    return subscription


async def emit(bus: EventBus, numbers: range) -> None:
    """Emit a ping for each number, within a time that only a hanging observer could exceed."""
    with anyio.fail_after(30):
        for n in numbers:
            await bus.emit(Ping(n=n))


async def test_what_is_emitted_before_the_bus_opens_is_delivered_when_it_does(
    bus: EventBus, notebook: Notebook
) -> None:
    bus.observe(Ping, notebook.note)
    await emit(bus, range(3))
    await anyio.lowlevel.checkpoint()
    assert notebook.seen == []
    async with bus:
        await notebook.wait_for(2)
    assert notebook.seen == [0, 1, 2]


async def test_closing_delivers_what_is_queued(bus: EventBus, notebook: Notebook) -> None:
    async with bus:
        bus.observe(Ping, notebook.note)
        await emit(bus, range(100))
    assert notebook.seen == list(range(100))


@pytest.mark.parametrize("is_plain", [False, True])
async def test_plain_functions_observe_in_a_thread_and_async_ones_on_the_loop(bus: EventBus, is_plain: bool) -> None:
    seen: list[int] = []
    threads: set[threading.Thread] = set()

    def plain(event: Ping) -> None:
        seen.append(event.n)
        threads.add(threading.current_thread())

    async def asynchronous(event: Ping) -> None:
        plain(event)

    observer: Callable[[Ping], Any] = plain if is_plain else asynchronous
    bus.observe(Ping, observer)
    async with bus:
        await emit(bus, range(3))
    assert seen == [0, 1, 2]
    assert (threading.current_thread() in threads) == (not is_plain)


class Later:
    """Something to be awaited that is no coroutine."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def __await__(self) -> Generator[Any, Any, None]:
        yield from anyio.lowlevel.checkpoint().__await__()
        self._function()


async def test_what_a_plain_observer_returns_to_be_awaited_is_awaited(bus: EventBus) -> None:
    """A lambda or a wrapper around an async function is no coroutine function, and its work must not be lost."""
    seen: list[int] = []
    bus.observe(Ping, lambda event: Later(lambda: seen.append(event.n)))
    async with bus:
        await emit(bus, range(3))
    assert seen == [0, 1, 2]


async def test_observers_get_events_after_the_handlers_have_run(bus: EventBus) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    seen: list[object] = []

    @bus.observe(PreDownload)
    async def watch(event: PreDownload) -> None:
        seen.append(event.context.local_node_download_model)

    @bus.on(PreDownload)
    def change(event: PreDownload) -> None:
        event.context.local_node_download_model = "NONE"

    async with bus:
        await bus.emit(PreDownload(context=context))
    assert seen == ["NONE"]


async def test_an_event_is_shown_even_when_a_handler_failed(bus: EventBus, notebook: Notebook) -> None:
    @bus.on(Ping)
    def broken(_event: Ping) -> None:
        raise KeyError("x")

    bus.observe(Ping, notebook.note)
    async with bus:
        with pytest.raises(RuntimeError, match="broken"):
            await bus.emit(Ping(n=1))
    assert notebook.seen == [1]


async def test_a_failing_observer_is_logged_and_the_others_see_everything(
    bus: EventBus, notebook: Notebook, caplog: pytest.LogCaptureFixture
) -> None:
    @bus.observe(Ping)
    async def broken(_event: Ping) -> None:
        raise KeyError("broken pencil")

    bus.observe(Ping, notebook.note)
    with caplog.at_level(logging.ERROR, logger="eventinit"):
        async with bus:
            await emit(bus, range(2))
    assert notebook.seen == [0, 1]
    assert "broken" in caplog.text
    assert "broken pencil" in caplog.text


@pytest.mark.parametrize("plain", [False, True])
async def test_an_observer_is_set_aside_after_three_failures_in_a_row(
    bus: EventBus, notebook: Notebook, caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    calls: list[int] = []

    def broken(event: Ping) -> None:
        calls.append(event.n)
        if event.n != 2:
            raise KeyError("x")

    async def broken_async(event: Ping) -> None:
        broken(event)

    observer: Callable[[Ping], Any] = broken if plain else broken_async
    subscription = bus.observe(Ping, observer)
    bus.observe(Ping, notebook.note)
    with caplog.at_level(logging.ERROR, logger="eventinit"):
        async with bus:
            await emit(bus, range(8))
    assert calls == [0, 1, 2, 3, 4, 5]
    assert not subscription.live
    assert "observer_set_aside" in caplog.text
    assert notebook.seen == list(range(8))


async def test_a_slow_observer_lags_alone_and_loses_its_oldest_events(notebook: Notebook) -> None:
    bus = EventBus(observer_queue_size=3, drain_timeout_s=30)
    begun, go_on = anyio.Event(), anyio.Event()
    slowly_seen: list[int] = []

    @bus.observe(Ping)
    async def quick(event: Ping) -> None:
        await notebook.note(event)

    async def slow(event: Ping) -> None:
        begun.set()
        await go_on.wait()
        slowly_seen.append(event.n)

    subscription = lane(bus.observe(Ping, slow))
    async with bus:
        await bus.emit(Ping(n=0))
        with anyio.fail_after(30):
            await begun.wait()
        for n in range(1, 8):
            await emit(bus, range(n, n + 1))
            await notebook.wait_for(n)
        assert slowly_seen == []
        go_on.set()
    assert notebook.seen == list(range(8))
    assert slowly_seen == [0, 5, 6, 7]
    assert subscription.dropped == 4


@pytest.mark.parametrize("plain", [False, True])
async def test_a_hanging_observer_delays_neither_emit_nor_close(
    notebook: Notebook, let_go: threading.Event, plain: bool
) -> None:
    bus = EventBus(drain_timeout_s=0.5)
    begun = anyio.Event()

    def hang(_event: Ping) -> None:
        anyio.from_thread.run_sync(begun.set)
        let_go.wait(60)

    async def hang_async(_event: Ping) -> None:
        begun.set()
        await anyio.sleep_forever()

    observer: Callable[[Ping], Any] = hang if plain else hang_async
    bus.observe(Ping, observer)
    bus.observe(Ping, notebook.note)
    with anyio.fail_after(30):
        async with bus:
            await emit(bus, range(5))
            await begun.wait()
            await notebook.wait_for(4)
    assert notebook.seen == [0, 1, 2, 3, 4]
    assert not let_go.is_set()


async def test_an_observer_sees_the_context_as_it_was_and_cannot_change_it(bus: EventBus) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    context.custom_data = {"nested": {"a": 1}, "list": [1]}
    errors: list[Exception] = []
    seen: list[Any] = []

    def assign(context: NodeInitializationContext) -> None:
        context.local_node_download_model = "NONE"

    def set_a_key(context: NodeInitializationContext) -> None:
        context.custom_data["late"] = 1

    def set_a_nested_key(context: NodeInitializationContext) -> None:
        context.custom_data["nested"]["a"] = 2

    def set_the_group(context: NodeInitializationContext) -> None:
        context.placement_group = 1

    @bus.observe(PreDownload)
    async def meddle(event: PreDownload) -> None:
        seen.append(dict(event.context.custom_data["nested"]))
        event.context.custom_data["list"].append(2)
        for write in (assign, set_a_key, set_a_nested_key, set_the_group):
            try:
                write(event.context)
            except ContextSealedError as error:
                errors.append(error)

    await bus.emit(PreDownload(context=context))
    context.custom_data["nested"]["a"] = 5
    async with bus:
        pass
    assert seen == [{"a": 1}]
    assert len(errors) == 4
    assert all("bus.on" in str(error) for error in errors)
    assert context.custom_data == {"nested": {"a": 5}, "list": [1]}
    assert context.local_node_download_model == "MODEL_AND_TOKENIZER"


async def test_an_observer_cannot_change_a_dict_inside_a_list_of_the_context(bus: EventBus) -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    context.custom_data["adapters"] = [{"name": "a"}]

    @bus.observe(PreDownload)
    async def meddle(event: PreDownload) -> None:
        event.context.custom_data["adapters"][0]["name"] = "b"

    async with bus:
        await bus.emit(PreDownload(context=context))
    assert context.custom_data["adapters"] == [{"name": "a"}]


async def test_where_decides_what_an_observer_gets(bus: EventBus, notebook: Notebook) -> None:
    bus.observe(Ping, notebook.note, where=lambda event: event.n % 2 == 1)
    async with bus:
        await emit(bus, range(4))
    assert notebook.seen == [1, 3]


async def test_an_observers_failing_filter_fails_no_emit(bus: EventBus, notebook: Notebook) -> None:
    """An observer can never fail the start, whichever part of it is broken."""

    def broken(_event: Event) -> bool:
        raise KeyError("x")

    bus.observe(Ping, notebook.note, where=broken)
    bus.observe(Ping, notebook.note)
    async with bus:
        await bus.emit(Ping(n=1))
    assert notebook.seen == [1]


async def test_an_observer_cannot_veto(bus: EventBus) -> None:
    def no(_event: Question) -> bool:
        return False

    observer: Any = no
    bus.observe(Question, observer)
    async with bus:
        assert not (await bus.emit(Question())).vetoed


async def test_a_cancelled_observer_gets_nothing_more_and_holds_up_no_close(bus: EventBus, notebook: Notebook) -> None:
    subscription = bus.observe(Ping, notebook.note)
    async with bus:
        await bus.emit(Ping(n=1))
        await notebook.wait_for(1)
        subscription.cancel()
        subscription.cancel()
        await bus.emit(Ping(n=2))
    assert notebook.seen == [1]


async def test_an_observer_that_comes_while_the_bus_is_open_is_served(bus: EventBus, notebook: Notebook) -> None:
    async with bus:
        await bus.emit(Ping(n=1))
        bus.observe(Ping, notebook.note)
        await bus.emit(Ping(n=2))
        await notebook.wait_for(2)
    assert notebook.seen == [2]


async def test_an_observer_may_emit(bus: EventBus, notebook: Notebook) -> None:
    bus.observe(Ping, notebook.note)

    @bus.observe(Question)
    async def answer(_event: Question) -> None:
        await bus.emit(Ping(n=1))

    async with bus:
        await bus.emit(Question())
        await notebook.wait_for(1)


async def test_a_bus_is_open_until_it_was_closed_as_often_as_opened(bus: EventBus, notebook: Notebook) -> None:
    bus.observe(Ping, notebook.note)
    async with bus:
        async with bus:
            assert bus.is_open
        assert bus.is_open
        await bus.emit(Ping(n=1))
        await notebook.wait_for(1)
    assert not bus.is_open


async def test_a_bus_can_be_opened_again(bus: EventBus, notebook: Notebook) -> None:
    bus.observe(Ping, notebook.note)
    for n in range(3):
        await bus.emit(Ping(n=2 * n))
        async with bus:
            await bus.emit(Ping(n=2 * n + 1))
            await notebook.wait_for(2 * n + 1)
    assert notebook.seen == [0, 1, 2, 3, 4, 5]


async def test_closing_a_bus_that_is_not_open_is_an_error(bus: EventBus) -> None:
    with pytest.raises(BusError, match="not open"):
        await bus.aclose()


async def test_a_bus_may_be_closed_in_another_task_than_it_was_opened_in(bus: EventBus, notebook: Notebook) -> None:
    bus.observe(Ping, notebook.note)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.open)
    await bus.emit(Ping(n=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.aclose)
    assert notebook.seen == [1]
    assert not bus.is_open


async def test_two_tasks_may_open_a_bus_at_the_same_time(bus: EventBus) -> None:
    """Two nodes that start at once share a bus, and a handler of either may observe right away."""
    notebooks = [Notebook(), Notebook()]

    async def use(notebook: Notebook) -> None:
        async with bus:
            bus.observe(Ping, notebook.note)
            await bus.emit(Ping(n=1))
            await notebook.wait_for(1)

    async with anyio.create_task_group() as tasks:
        for notebook in notebooks:
            tasks.start_soon(use, notebook)


async def test_a_bus_that_is_opened_while_it_closes_serves_its_observers(notebook: Notebook) -> None:
    """The last node on a bus stops while the next one starts."""
    bus = EventBus(drain_timeout_s=1)
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(_event: Ping) -> None:
        begun.set()
        await go_on.wait()

    bus.observe(Ping, slow)
    bus.observe(Ping, notebook.note)
    await bus.open()
    await bus.emit(Ping(n=0))
    with anyio.fail_after(30):
        await begun.wait()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.aclose)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(bus.open)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    await bus.emit(Ping(n=1))
    with anyio.move_on_after(3):
        await notebook.wait_for(1)
    seen = list(notebook.seen)
    await bus.aclose()
    assert seen == [0, 1]
