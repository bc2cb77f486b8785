"""The callback class of a configuration: its hooks, when and where they run, and what their answers do."""

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eventinit import EventBus, LLMConfig, NodeInitializationContext, initialize_node
from eventinit.errors import HandlerError, HookNameError, SubscriptionError
from eventinit.events import LifecycleEvent, PostDownload, PostPlacementGroup, PreDownload
from eventinit.hooks import known_hooks
from eventinit.testing import FakeGroup, Fakes

pytestmark = pytest.mark.anyio

HOOKS = (
    "on_pre_initialization",
    "on_pre_download",
    "on_post_download",
    "on_pre_placement_group",
    "on_post_placement_group",
    "on_pre_engine_init",
    "on_post_engine_init",
    "on_post_initialization",
)
VETOABLE = {"on_pre_initialization", "on_pre_download", "on_pre_placement_group"}

Act = Callable[[str, NodeInitializationContext], object]


def callback_class(names: tuple[str, ...], act: Act, *, is_async: bool) -> type[Any]:
    """Make a class with these hooks, each of which returns what ``act`` does for its name and context."""

    def hook(name: str) -> Callable[..., Any]:
        def plain(_self: object, ctx: NodeInitializationContext) -> object:
            return act(name, ctx)

        async def asynchronous(_self: object, ctx: NodeInitializationContext) -> object:
            await anyio.lowlevel.checkpoint()
            return act(name, ctx)

        return asynchronous if is_async else plain

    return type("Callback", (), {name: hook(name) for name in names})


async def start(cls: Any, fakes: Fakes | None = None, bus: EventBus | None = None, **values: Any) -> Fakes:
    """Start a node with a callback class on fakes and stop it; return the fakes."""
    fakes = fakes or Fakes()
    config = LLMConfig(model_id="m", callback_class=cls, **values)
    try:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pass
    finally:
        assert fakes.left_behind() == []
    return fakes


def before(calls: list[str], *names: str) -> bool:
    """Return whether hooks ran in this order."""
    places = [calls.index(name) for name in names]
    return places == sorted(places)


@pytest.mark.parametrize("is_async", [False, True])
async def test_all_eight_hooks_run_once_with_the_context_in_the_order_of_the_design(is_async: bool) -> None:
    calls: list[str] = []
    contexts: set[int] = set()

    def act(name: str, ctx: NodeInitializationContext) -> None:
        assert isinstance(ctx, NodeInitializationContext)
        contexts.add(id(ctx))
        calls.append(name)

    await start(callback_class(HOOKS, act, is_async=is_async))
    assert sorted(calls) == sorted(HOOKS)
    assert len(contexts) == 1
    assert calls[0] == "on_pre_initialization"
    assert before(calls, "on_pre_download", "on_post_download", "on_pre_engine_init")
    assert before(calls, "on_pre_placement_group", "on_post_placement_group", "on_pre_engine_init")
    assert calls[-3:] == ["on_pre_engine_init", "on_post_engine_init", "on_post_initialization"]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("names", [*((name,) for name in HOOKS), *itertools.pairwise(HOOKS)], ids="+".join)
async def test_any_subset_of_the_hooks_will_do(names: tuple[str, ...], is_async: bool) -> None:
    calls: list[str] = []
    await start(callback_class(names, lambda name, _ctx: calls.append(name), is_async=is_async))
    assert sorted(calls) == sorted(names)


async def test_a_callback_without_hooks_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    class Idle:
        pass

    with caplog.at_level(logging.WARNING, logger="eventinit"):
        await start(Idle)
    assert "Idle" in caplog.text


async def test_hooks_of_base_classes_and_static_ones_count() -> None:
    calls: list[str] = []

    class Base:
        def on_pre_download(self, _ctx: object) -> None:
            calls.append("inherited")

    class Derived(Base):
        @staticmethod
        def on_post_download(_ctx: object) -> None:
            calls.append("static")

        @classmethod
        def on_post_initialization(cls, _ctx: object) -> None:
            calls.append("class")

    await start(Derived)
    assert calls == ["inherited", "static", "class"]


async def test_a_wrapped_async_hook_is_awaited() -> None:
    """A decorator often turns an async function into a plain one that returns something to be awaited."""
    calls: list[str] = []

    class Awaited:
        def __await__(self) -> Any:
            yield from anyio.lowlevel.checkpoint().__await__()
            calls.append("awaited")

    class Wrapped:
        def on_pre_download(self, _ctx: object) -> Awaited:
            return Awaited()

    await start(Wrapped)
    assert calls == ["awaited"]


async def test_plain_hooks_run_off_the_event_loops_thread_and_async_ones_on_it() -> None:
    threads: dict[str, threading.Thread] = {}

    class Mixed:
        def on_pre_download(self, _ctx: object) -> None:
            threads["plain"] = threading.current_thread()

        async def on_post_download(self, _ctx: object) -> None:
            threads["async"] = threading.current_thread()

    await start(Mixed)
    assert threads["plain"] is not threading.current_thread()
    assert threads["async"] is threading.current_thread()


@pytest.mark.parametrize("is_async", [False, True])
async def test_one_hook_of_an_instance_runs_at_a_time(is_async: bool) -> None:
    """The hooks of the two branches, and of two starts, do not need locks of their own."""
    inside: list[str] = []
    most = 0

    async def stay(name: str) -> None:
        nonlocal most
        inside.append(name)
        await anyio.wait_all_tasks_blocked()
        most = max(most, len(inside))
        inside.remove(name)

    class Busy:
        async def on_pre_download(self, _ctx: object) -> None:
            await stay("download")

        async def on_pre_placement_group(self, _ctx: object) -> None:
            await stay("placement")

    token = anyio.lowlevel.current_token()

    class BusyInThreads:
        def on_pre_download(self, _ctx: object) -> None:
            anyio.from_thread.run(stay, "download", token=token)

        def on_pre_placement_group(self, _ctx: object) -> None:
            anyio.from_thread.run(stay, "placement", token=token)

    cls: Any = Busy if is_async else BusyInThreads
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(start, cls)
    assert most == 1


# ---- what goes wrong


async def test_a_misspelt_hook_is_named_with_the_right_one() -> None:
    class Misspelt:
        def on_pre_downlaod(self, ctx: NodeInitializationContext) -> None: ...

    with pytest.raises(HookNameError, match=r"Misspelt.*'on_pre_downlaod'.*'on_pre_download'"):
        await start(Misspelt)


async def test_a_hook_that_takes_no_context_is_refused_before_anything_starts() -> None:
    class Forgetful:
        def on_pre_download(self) -> None: ...

    with pytest.raises(SubscriptionError, match=r"Forgetful.on_pre_download cannot be called with the context"):
        await start(Forgetful)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("broken", HOOKS)
async def test_a_hook_that_raises_fails_the_start_and_is_named_with_its_event(broken: str, is_async: bool) -> None:
    def act(_name: str, _ctx: NodeInitializationContext) -> None:
        raise KeyError("lost")

    with pytest.raises(HandlerError, match=rf"Callback\.{broken}.*KeyError.*lost") as caught:
        await start(callback_class((broken,), act, is_async=is_async))
    assert caught.value.event == "".join(part.title() for part in broken.removeprefix("on_").split("_"))
    assert caught.value.phase == broken.removeprefix("on_pre_").removeprefix("on_post_")


@pytest.mark.parametrize("broken", HOOKS)
async def test_the_error_of_a_start_keeps_what_the_hook_raised_as_its_cause(broken: str) -> None:
    original = KeyError("lost")

    def act(_name: str, _ctx: NodeInitializationContext) -> None:
        raise original

    with pytest.raises(HandlerError) as caught:
        await start(callback_class((broken,), act, is_async=False))
    assert caught.value.__cause__ is original


async def test_a_hook_may_fail_when_the_configuration_says_so(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def act(name: str, _ctx: NodeInitializationContext) -> None:
        calls.append(name)
        raise KeyError("lost")

    with caplog.at_level(logging.ERROR, logger="eventinit"):
        await start(callback_class(HOOKS, act, is_async=False), raise_error_on_callback=False)
    assert sorted(calls) == sorted(HOOKS)
    for name in HOOKS:
        assert f"Callback.{name}" in caplog.text


async def test_a_late_write_in_a_hook_is_named_with_the_field_and_the_event_to_write_it_in() -> None:
    class TooLate:
        def on_post_engine_init(self, ctx: NodeInitializationContext) -> None:
            ctx.extra_init_kwargs["max_model_len"] = 8

    with pytest.raises(HandlerError, match=r"TooLate\.on_post_engine_init.*extra_init_kwargs.*PreEngineInit"):
        await start(TooLate)


# ---- return False


def says_no(name: str) -> type[Any]:
    """Make a callback whose only hook returns False."""
    return callback_class((name,), lambda _name, _ctx: False, is_async=False)


def watched(bus: EventBus) -> list[LifecycleEvent]:
    """Return a list that fills with the events of a start."""
    events: list[LifecycleEvent] = []
    bus.on(LifecycleEvent, events.append, priority=-100)
    return events


async def test_false_before_the_initialization_skips_download_and_group_and_their_events() -> None:
    bus = EventBus()
    events = watched(bus)
    fakes = await start(says_no("on_pre_initialization"), bus=bus)
    assert fakes.source.fetched == []
    assert fakes.cluster.groups == []
    assert [type(event).__name__ for event in events] == [
        *("PreInitialization", "PreEngineInit", "PostEngineInit", "PostInitialization"),
        *("PreShutdown", "PostShutdown"),
    ]
    assert fakes.engine.engines[0].request.arguments["model"] == "m"


async def test_false_before_the_download_skips_it_and_its_post_event_says_so() -> None:
    bus = EventBus()
    events = watched(bus)
    fakes = await start(says_no("on_pre_download"), bus=bus)
    assert fakes.source.fetched == []
    assert len(fakes.cluster.groups) == 1
    post = next(event for event in events if isinstance(event, PostDownload))
    assert post.outcome.status == "vetoed"
    assert any("on_pre_download" in reason for reason in post.outcome.reasons)


async def test_false_before_the_group_skips_it_and_its_post_event_says_so() -> None:
    bus = EventBus()
    events = watched(bus)
    fakes = await start(says_no("on_pre_placement_group"), bus=bus)
    assert fakes.source.fetched == ["MODEL_AND_TOKENIZER"]
    assert fakes.cluster.groups == []
    assert fakes.engine.engines[0].request.group is None
    post = next(event for event in events if isinstance(event, PostPlacementGroup))
    assert post.outcome.status == "vetoed"


@pytest.mark.parametrize("name", [name for name in HOOKS if name not in VETOABLE])
async def test_false_elsewhere_changes_nothing_and_is_warned_about(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="eventinit"):
        fakes = await start(says_no(name))
    assert len(fakes.source.fetched) == len(fakes.cluster.groups) == len(fakes.engine.engines) == 1
    assert caplog.text.count(f"Callback.{name}") == 1


@pytest.mark.parametrize("name", HOOKS)
async def test_another_value_than_none_or_a_bool_is_an_error_in_every_hook(name: str) -> None:
    with pytest.raises(HandlerError, match=rf"Callback\.{name}"):
        await start(callback_class((name,), lambda _name, _ctx: "no", is_async=False))


async def test_a_supplied_group_is_used_and_left_alone() -> None:
    mine = FakeGroup([{"CPU": 1.0}])

    class CustomPG:
        def on_pre_placement_group(self, ctx: NodeInitializationContext) -> None:
            ctx.placement_group = mine

    fakes = await start(CustomPG)
    assert fakes.cluster.groups == []
    assert fakes.engine.engines[0].request.group is mine
    assert not mine.removed


class OwnPreDownload(PreDownload):
    """An event of one's own that derives from one with a hook."""


async def test_an_event_that_derives_from_one_with_a_hook_does_not_take_the_hook_away() -> None:
    assert known_hooks()["on_pre_download"] is PreDownload
