"""Objects attached to a bus: marked methods, marked functions and hooks."""

import threading
from typing import Any

import anyio
import pytest

from eventinit import Attachment, Event, EventBus, LLMConfig, NodeInitializationContext, handles, observes
from eventinit.errors import HookNameError, SubscriptionError
from eventinit.events import PostDownload, PreDownload

pytestmark = pytest.mark.anyio


class Ping(Event):
    """A plain event."""

    n: int = 0


class Pong(Event):
    """Another."""


@pytest.fixture
def bus() -> EventBus:
    """Give a bus of its own to each test."""
    return EventBus()


class Listener:
    """Handles pings, late ones first, and watches everything."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seen: list[str] = []
        self.everything = anyio.Event()

    @handles(Ping)
    async def normal(self, event: Ping) -> None:
        self.calls.append(f"normal {event.n}")

    @handles(Ping, priority=5)
    def urgent(self, event: Ping) -> None:
        self.calls.append(f"urgent {event.n}")

    @handles(Pong)
    @handles(Ping, priority=-5)
    def either(self, event: Event) -> None:
        self.calls.append(f"either {type(event).__name__}")

    @observes(Event)
    async def watch(self, event: Event) -> None:
        self.seen.append(type(event).__name__)
        if len(self.seen) == 2:
            self.everything.set()

    @property
    def not_to_be_run(self) -> str:
        raise AssertionError("attaching an object must not run its properties")


async def test_marked_methods_are_subscribed_with_their_options(bus: EventBus) -> None:
    listener = Listener()
    attachment = bus.attach(listener)
    async with bus:
        await bus.emit(Ping(n=1))
        await bus.emit(Pong())
        with anyio.fail_after(10):
            await listener.everything.wait()
    assert isinstance(attachment, Attachment)
    assert listener.calls == ["urgent 1", "normal 1", "either Ping", "either Pong"]
    assert listener.seen == ["Ping", "Pong"]


async def test_a_detached_object_gets_nothing_and_others_stay(bus: EventBus) -> None:
    first, second = Listener(), Listener()
    one, other = bus.attach(first), bus.attach(second)
    one.cancel()
    one.cancel()
    await bus.emit(Pong())
    assert (first.calls, second.calls) == ([], ["either Pong"])
    with other:
        await bus.emit(Pong())
    await bus.emit(Pong())
    async with bus:
        pass
    assert second.calls == ["either Pong"] * 2
    assert (first.seen, second.seen) == ([], [])


async def test_a_marked_function_can_be_attached(bus: EventBus) -> None:
    seen: list[int] = []

    @handles(Ping)
    def note(event: Ping) -> None:
        seen.append(event.n)

    with bus.attach(note):
        await bus.emit(Ping(n=1))
    await bus.emit(Ping(n=2))
    assert seen == [1]


async def test_a_marked_function_remains_a_function() -> None:
    listener = Listener()
    listener.urgent(Ping(n=3))
    assert listener.calls == ["urgent 3"]


async def test_hooks_are_called_with_the_context_and_plain_ones_off_the_loop(bus: EventBus) -> None:
    class Hooks:
        def on_pre_download(self, ctx: NodeInitializationContext) -> bool:
            ctx.custom_data["thread"] = threading.current_thread().name
            return False

        async def on_post_download(self, ctx: NodeInitializationContext) -> None:
            ctx.custom_data["loop"] = threading.current_thread().name

    context = NodeInitializationContext(LLMConfig(model_id="m"))
    with bus.attach(Hooks()):
        assert (await bus.emit(PreDownload(context=context))).vetoed
        await bus.emit(PostDownload(context=context))
    here = threading.current_thread().name
    assert context.custom_data["loop"] == here
    assert context.custom_data["thread"] != here
    assert [change.handler.rpartition(".")[2] for change in context.changes] == ["on_pre_download", "on_post_download"]


async def test_a_misspelt_hook_is_named_with_the_right_one_and_nothing_is_subscribed(bus: EventBus) -> None:
    class Misspelt:
        called = False

        def on_pre_downlaod(self, ctx: NodeInitializationContext) -> None: ...

        def on_post_download(self, ctx: NodeInitializationContext) -> None:
            Misspelt.called = True

    with pytest.raises(HookNameError, match=r"Misspelt.*'on_pre_downlaod'.*'on_pre_download'"):
        bus.attach(Misspelt())
    await bus.emit(PostDownload(context=NodeInitializationContext(LLMConfig(model_id="m"))))
    assert not Misspelt.called


async def test_other_methods_that_begin_with_on_are_left_alone(bus: EventBus) -> None:
    class Service:
        def on_request(self, request: object) -> None: ...

        @handles(Ping)
        def ping(self, event: Ping) -> None: ...

    assert len(bus.attach(Service()).subscriptions) == 1


async def test_an_object_with_nothing_to_subscribe_is_refused_with_the_remedy(bus: EventBus) -> None:
    with pytest.raises(SubscriptionError, match=r"@handles"):
        bus.attach(object())


async def test_an_object_is_attached_wholly_or_not_at_all(bus: EventBus) -> None:
    calls: list[str] = []

    class HalfRight:
        @handles(Ping)
        def a_good_one(self, event: Ping) -> None:
            calls.append("good")

        @handles(Ping, thread=True)
        async def bad_one(self, event: Ping) -> None: ...

    with pytest.raises(SubscriptionError, match="bad_one"):
        bus.attach(HalfRight())
    await bus.emit(Ping())
    assert calls == []


async def test_a_filter_of_the_mark_and_one_of_attach_both_count(bus: EventBus) -> None:
    """The handlers of a configuration are attached with a filter that keeps other nodes' events from them."""
    seen: list[int] = []

    class Picky:
        @handles(Ping, where=lambda event: event.n >= 2)
        def big(self, event: Ping) -> None:
            seen.append(event.n)

    bus.attach(Picky(), where=lambda event: event.n % 2 == 1)
    for n in range(4):
        await bus.emit(Ping(n=n))
    assert seen == [3]


@pytest.mark.parametrize("mark", [handles, observes])
async def test_a_mark_for_what_is_no_event_is_refused_where_it_is_written(mark: Any) -> None:
    with pytest.raises(SubscriptionError, match="is no event"):
        mark("Ping")
