"""Two handlers that write the same key of the context: allowed, recorded, and told once."""

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eventinit import EventBus, LLMConfig, NodeInitializationContext
from eventinit.context import set_by_system
from eventinit.events import LifecycleEvent, PostDownload, PreDownload, PreEngineInit, PrePlacementGroup

pytestmark = pytest.mark.anyio

Write = Callable[[NodeInitializationContext], object]


@pytest.fixture
def context() -> NodeInitializationContext:
    """Give a context with a nested dict that no handler has set."""
    return NodeInitializationContext(LLMConfig(model_id="m", runtime_env={"env_vars": {"A": "1"}}))


class Warnings:
    """The overrides that were warned about."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "eventinit")
        self._caplog = caplog

    def records(self) -> list[Any]:
        return [record for record in self._caplog.records if "handlers_write_the_same_key" in record.getMessage()]

    def keys(self) -> list[str]:
        return [record.eventinit_key for record in self.records()]

    def pairs(self) -> list[tuple[str, str]]:
        return [(record.eventinit_first, record.eventinit_then_by) for record in self.records()]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    return Warnings(caplog)


async def handle(context: NodeInitializationContext, *writes: Write) -> None:
    """Let as many handlers write, one after another, called ``handler1`` and so on."""
    bus = EventBus()
    for number, write in enumerate(writes, start=1):
        bus.on(PreDownload, _handler(write), name=f"handler{number}")
    await bus.emit(PreDownload(context=context))


def _handler(write: Write) -> Callable[[LifecycleEvent], None]:
    def handler(event: LifecycleEvent) -> None:
        write(event.context)

    return handler


def _of(context: NodeInitializationContext) -> Callable[[LifecycleEvent], bool]:
    return lambda event: event.context is context


def mode(value: Any) -> Write:
    return lambda context: setattr(context, "local_node_download_model", value)


def all_kwargs(**kwargs: Any) -> Write:
    return lambda context: setattr(context, "extra_init_kwargs", kwargs)


def kwarg(key: str, value: Any) -> Write:
    return lambda context: context.extra_init_kwargs.__setitem__(key, value)


def no_kwarg(key: str) -> Write:
    return lambda context: context.extra_init_kwargs.pop(key)


def for_a_moment(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs["x"] = {"y": 1}
    del context.extra_init_kwargs["x"]


def in_kwarg(key: str, inner: str, value: Any) -> Write:
    return lambda context: context.extra_init_kwargs[key].__setitem__(inner, value)


def env(value: Any) -> Write:
    return lambda context: context.runtime_env.__setitem__("env_vars", value)


def no_env(context: NodeInitializationContext) -> None:
    del context.runtime_env["env_vars"]


def no_runtime_env(context: NodeInitializationContext) -> None:
    context.runtime_env = {}


def variable(key: str, value: str) -> Write:
    return lambda context: context.runtime_env["env_vars"].__setitem__(key, value)


def no_variable(key: str) -> Write:
    return lambda context: context.runtime_env["env_vars"].pop(key)


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        pytest.param(mode("NONE"), mode("TOKENIZER_ONLY"), "local_node_download_model", id="a field"),
        pytest.param(kwarg("x", 1), kwarg("x", 2), "extra_init_kwargs.x", id="a key"),
        pytest.param(kwarg("x", 1), no_kwarg("x"), "extra_init_kwargs.x", id="a key removed"),
        pytest.param(all_kwargs(x=1, y=1), all_kwargs(x=2, y=1), "extra_init_kwargs.x", id="a key of a whole dict"),
        pytest.param(variable("A", "2"), variable("A", "3"), "runtime_env.env_vars.A", id="a nested key"),
        pytest.param(no_variable("A"), variable("A", "3"), "runtime_env.env_vars.A", id="what the other removed"),
        pytest.param(
            kwarg("x", {"y": {"z": 1}}), in_kwarg("x", "y", 2), "extra_init_kwargs.x.y", id="inside a dict of the other"
        ),
        pytest.param(env({"A": "1", "B": "1"}), env({"A": "1"}), "runtime_env.env_vars.B", id="a dict without the key"),
        pytest.param(variable("B", "2"), no_env, "runtime_env.env_vars.B", id="the dict around it removed"),
        pytest.param(variable("B", "2"), env(None), "runtime_env.env_vars.B", id="the dict around it replaced"),
        pytest.param(variable("B", "2"), no_runtime_env, "runtime_env.env_vars.B", id="the whole field replaced"),
    ],
)
async def test_a_handler_that_overrides_another_is_told_with_the_key_and_both_names(
    context: NodeInitializationContext, warnings: Warnings, first: Write, second: Write, key: str
) -> None:
    await handle(context, first, second)
    assert warnings.keys() == [key]
    assert warnings.pairs() == [("handler1 on PreDownload", "handler2 on PreDownload")]
    [record] = warnings.records()
    assert record.eventinit_winner == "handler2"
    assert record.levelno == logging.WARNING
    for part in (key, "handler1 on PreDownload", "handler2 on PreDownload"):
        assert part in record.getMessage()
    [override] = context.overrides
    assert override.path == key
    assert (override.first.handler, override.then.handler) == ("handler1", "handler2")
    assert override.then in context.changes


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(kwarg("x", 1), kwarg("y", 1), id="two keys"),
        pytest.param(kwarg("x", {"y": 1}), kwarg("xy", 2), id="a name that begins alike"),
        pytest.param(kwarg("x", 1), kwarg("x", 1), id="the same value"),
        pytest.param(mode("NONE"), mode("NONE"), id="the same value of a field"),
        pytest.param(kwarg("x", {"y": 1}), in_kwarg("x", "z", 2), id="another key in a dict of the other"),
        pytest.param(env({"B": "1"}), env({"B": "1"}), id="an equal dict"),
        pytest.param(variable("A", "2"), env({"A": "2", "B": "1"}), id="a dict that keeps the key"),
        pytest.param(no_variable("A"), no_env, id="a dict from which the other only removed"),
        pytest.param(variable("B", "2"), kwarg("env_vars", None), id="another field"),
        pytest.param(variable("B", "2"), for_a_moment, id="another dict removed"),
    ],
)
async def test_handlers_that_do_not_undo_each_other_are_not_warned_about(
    context: NodeInitializationContext, warnings: Warnings, first: Write, second: Write
) -> None:
    await handle(context, first, second)
    assert warnings.keys() == []
    assert context.overrides == ()


async def test_the_one_who_wrote_the_key_last_is_named(context: NodeInitializationContext, warnings: Warnings) -> None:
    """What counts is the newest write, of the key itself or of a dict around it."""
    writes = [in_kwarg("x", "y", value) for value in (2, 3)]
    await handle(context, kwarg("x", {"y": 1}), *writes, kwarg("x", {}), in_kwarg("x", "y", 5))
    assert [(override.first.handler, override.then.handler) for override in context.overrides] == [
        ("handler1", "handler2"),
        ("handler2", "handler3"),
        ("handler3", "handler4"),
        ("handler4", "handler5"),
    ]
    assert warnings.keys() == ["extra_init_kwargs.x.y"] * 4


async def test_a_dict_that_is_replaced_is_told_for_itself_and_for_what_others_put_into_it(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    await handle(context, kwarg("x", {"y": 1}), in_kwarg("x", "z", 2), no_kwarg("x"))
    assert warnings.keys() == ["extra_init_kwargs.x", "extra_init_kwargs.x.z"]
    assert [override.first.handler for override in context.overrides] == ["handler1", "handler2"]


async def test_a_dict_that_was_replaced_leaves_nothing_behind_to_warn_about(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    def fresh(context: NodeInitializationContext) -> None:
        context.runtime_env["env_vars"] = None
        context.runtime_env["env_vars"] = {}

    await handle(context, variable("B", "2"), fresh, variable("B", "3"))
    assert [(override.first.handler, override.then.handler) for override in context.overrides] == [
        ("handler1", "handler2")
    ]


async def test_the_nearest_dict_around_a_key_counts(context: NodeInitializationContext) -> None:
    def replace_inner(context: NodeInitializationContext) -> None:
        context.extra_init_kwargs["x"]["y"] = None
        context.extra_init_kwargs["x"]["y"] = {"z": 2}

    def write_innermost(context: NodeInitializationContext) -> None:
        context.extra_init_kwargs["x"]["y"]["z"] = 3

    await handle(context, kwarg("x", {"y": {"z": 1}}), replace_inner, write_innermost)
    assert [(override.path, override.first.handler) for override in context.overrides] == [
        ("extra_init_kwargs.x.y", "handler1"),
        ("extra_init_kwargs.x.y.z", "handler2"),
    ]


async def test_the_same_two_are_warned_about_once_for_a_key_and_recorded_each_time(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    for value in (1, 3):
        await handle(context, kwarg("x", value), kwarg("x", value + 1))
    assert warnings.pairs() == [
        ("handler1 on PreDownload", "handler2 on PreDownload"),
        ("handler2 on PreDownload", "handler1 on PreDownload"),
    ]
    assert [change.new for change in context.changed_by("extra_init_kwargs.x")] == [1, 2, 3, 4]
    assert [override.then.new for override in context.overrides] == [2, 3, 4]
    await handle(context, kwarg("y", 1), kwarg("y", 2))
    assert warnings.keys()[2:] == ["extra_init_kwargs.y"]


async def test_the_warning_names_the_event_of_each_handler(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    bus = EventBus()
    bus.on(PreDownload, _handler(kwarg("x", 1)), name="early")
    bus.on(PreEngineInit, _handler(kwarg("x", 2)), name="late")
    await bus.emit(PreDownload(context=context))
    await bus.emit(PreEngineInit(context=context))
    assert warnings.pairs() == [("early on PreDownload", "late on PreEngineInit")]


async def test_the_warning_shows_no_values(
    context: NodeInitializationContext, warnings: Warnings, caplog: pytest.LogCaptureFixture
) -> None:
    await handle(context, kwarg("hf_token", "hf_first"), kwarg("hf_token", "hf_second"))
    assert warnings.keys() == ["extra_init_kwargs.hf_token"]
    assert "hf_first" not in caplog.text + repr(context.overrides)
    assert "hf_second" not in caplog.text + repr(context.overrides)


async def test_a_handler_may_change_its_mind(context: NodeInitializationContext, warnings: Warnings) -> None:
    """In one call, and from one event to the next."""
    bus = EventBus()

    def note(event: LifecycleEvent) -> None:
        event.context.custom_data["x"] = 1
        event.context.custom_data["x"] = type(event).__name__

    bus.on(PreDownload, note)
    bus.on(PostDownload, note)
    await bus.emit(PreDownload(context=context))
    await bus.emit(PostDownload(context=context))
    assert len(context.changes) == 4
    assert warnings.keys() == []


class Hooks:
    """Writes one key at three events: two hooks, one of them in a thread, and a method that is subscribed by itself."""

    def __init__(self, value: str) -> None:
        self.value = value

    def on_pre_download(self, ctx: NodeInitializationContext) -> None:
        ctx.custom_data["step"] = f"{self.value} begins"

    async def on_post_download(self, ctx: NodeInitializationContext) -> None:
        ctx.custom_data["step"] = f"{self.value} has ended"

    def look(self, event: PreEngineInit) -> None:
        event.context.custom_data["step"] = f"{self.value} boots"


async def test_the_hooks_and_methods_of_one_object_count_as_one(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    bus, hooks = EventBus(), Hooks("it")
    bus.on(PreEngineInit, hooks.look)
    with bus.attach(hooks):
        for event in (PreDownload, PostDownload, PreEngineInit):
            await bus.emit(event(context=context))
    assert [change.new for change in context.changes] == ["it begins", "it has ended", "it boots"]
    assert warnings.keys() == []


async def test_two_objects_of_one_class_are_two(context: NodeInitializationContext, warnings: Warnings) -> None:
    bus = EventBus()
    with bus.attach(Hooks("one")), bus.attach(Hooks("other")):
        await bus.emit(PreDownload(context=context))
    assert warnings.keys() == ["custom_data.step"]


async def test_code_outside_a_handler_competes_with_nobody(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    """Neither with the handler before it nor with the one after it."""
    inside, outside = {"y": 1}, {"y": 2}
    context.extra_init_kwargs["x"] = 0
    await handle(context, kwarg("x", inside))
    context.extra_init_kwargs["x"] = outside
    await handle(context, lambda _: None, in_kwarg("x", "y", 3))
    context.extra_init_kwargs["x"]["y"] = 4
    await handle(context, lambda _: None, lambda _: None, in_kwarg("x", "y", 5))
    assert [change.new for change in context.changes] == [0, inside, 2, 3, 4, 5]
    assert warnings.keys() == []


async def test_the_start_itself_competes_with_nobody(context: NodeInitializationContext, warnings: Warnings) -> None:
    def supply(context: NodeInitializationContext) -> None:
        context.placement_group = object()

    await handle(context, supply)
    set_by_system(context, "placement_group", object())
    await handle(context, lambda _: None, supply)
    assert [change.handler for change in context.changes] == ["handler1", "eventinit", "handler2"]
    assert warnings.keys() == []


async def test_two_starts_on_one_bus_have_nothing_to_do_with_each_other(warnings: Warnings) -> None:
    bus = EventBus()
    contexts = [NodeInitializationContext(LLMConfig(model_id=name)) for name in ("one", "other")]
    for number, context in enumerate(contexts):
        bus.on(PreDownload, _handler(kwarg("x", number)), name=f"handler{number}", where=_of(context))
    for context in contexts:
        await bus.emit(PreDownload(context=context))
    assert [len(context.changes) for context in contexts] == [1, 1]
    assert warnings.keys() == []


async def test_an_observers_copy_shows_the_overrides_so_far_and_no_later_ones(
    context: NodeInitializationContext, warnings: Warnings
) -> None:
    await handle(context, kwarg("x", 1), kwarg("x", 2))
    seen = PreDownload(context=context).observed().context
    await handle(context, lambda _: None, lambda _: None, kwarg("x", 3))
    assert [override.then.new for override in seen.overrides] == [2]
    assert [override.then.new for override in context.overrides] == [2, 3]
    assert len(warnings.keys()) == 2


@pytest.mark.parametrize("in_thread", [False, True])
async def test_interleaved_handlers_are_told_apart_in_nested_dicts(
    context: NodeInitializationContext, warnings: Warnings, in_thread: bool
) -> None:
    """The download's and the reservation's handlers write in turns, each before the other has ended."""
    bus = EventBus()
    turns = [anyio.Event() for _ in range(4)]

    async def write(value: str) -> None:
        variables = context.runtime_env["env_vars"]
        if in_thread:
            await anyio.to_thread.run_sync(variables.__setitem__, "A", value)
        else:
            variables["A"] = value

    @bus.on(PreDownload)
    async def downloads(_event: PreDownload) -> None:
        await write("2")
        turns[0].set()
        await turns[1].wait()
        await write("4")
        turns[2].set()
        await turns[3].wait()

    @bus.on(PrePlacementGroup)
    async def reserves(event: PrePlacementGroup) -> None:
        await turns[0].wait()
        event.context.runtime_env = {"env_vars": {"A": "3", "B": "1"}}
        turns[1].set()
        await turns[2].wait()
        await write("5")
        turns[3].set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, PreDownload(context=context))
        tasks.start_soon(bus.emit, PrePlacementGroup(context=context))
    assert [(change.new, change.handler) for change in context.changed_by("runtime_env.env_vars.A")] == [
        ("2", "downloads"),
        ("3", "reserves"),
        ("4", "downloads"),
        ("5", "reserves"),
    ]
    assert warnings.pairs() == [
        ("downloads on PreDownload", "reserves on PrePlacementGroup"),
        ("reserves on PrePlacementGroup", "downloads on PreDownload"),
    ]
    assert len(context.overrides) == 3


async def test_a_context_can_be_copied_whatever_its_handlers_belong_to(context: NodeInitializationContext) -> None:
    """The object of a handler may hold a lock, a socket or an engine."""

    class Service:
        def __init__(self) -> None:
            self.own = threading.Lock()

        def look(self, event: PreDownload) -> None:
            event.context.custom_data["x"] = 1

    bus = EventBus()
    bus.on(PreDownload, Service().look)
    await bus.emit(PreDownload(context=context))
    assert copy.deepcopy(context).changes == context.changes
