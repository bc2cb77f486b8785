"""The context: its eight fields, what each accepts and from whom, and until when."""

from collections.abc import Callable
from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, NodeInitializationContext, initialize_node
from eventinit.errors import ConfigError, ContextSealedError, ContextValueError, HandlerError, UnknownFieldError
from eventinit.events import (
    LifecycleEvent,
    PostDownload,
    PostEngineInit,
    PostInitialization,
    PostPlacementGroup,
    PreDownload,
    PreEngineInit,
    PreInitialization,
)
from eventinit.testing import FakeGroup, Fakes

FIELDS = {
    "llm_config",
    "local_node_download_model",
    "worker_node_download_model",
    "download_result",
    "placement_group",
    "runtime_env",
    "extra_init_kwargs",
    "custom_data",
}


@pytest.fixture
def context() -> NodeInitializationContext:
    """Give a context as a start makes it."""
    return NodeInitializationContext(LLMConfig(model_id="m"))


def test_the_context_has_the_eight_fields_with_values_from_the_configuration() -> None:
    config = LLMConfig(
        model_id="m",
        local_node_download_model="TOKENIZER_ONLY",
        worker_node_download_model="NONE",
        runtime_env={"env_vars": {"A": "1"}},
    )
    context = NodeInitializationContext(config)
    assert {name for name in FIELDS if hasattr(context, name)} == FIELDS
    assert context.llm_config is config
    assert context.local_node_download_model == "TOKENIZER_ONLY"
    assert context.worker_node_download_model == "NONE"
    assert context.download_result is None
    assert context.placement_group is None
    assert context.runtime_env == {"env_vars": {"A": "1"}}
    assert context.extra_init_kwargs == {}
    assert context.custom_data == {}
    assert context.changes == ()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("local_node_download_model", "EVERYTHING", "MODEL_AND_TOKENIZER"),
        ("local_node_download_model", None, "NONE"),
        ("worker_node_download_model", ["NONE"], "TOKENIZER_ONLY"),
        ("runtime_env", None, "dict"),
        ("extra_init_kwargs", [("a", 1)], "dict"),
        ("extra_init_kwargs", {1: 2}, "string keys"),
        ("custom_data", "text", "dict"),
    ],
)
def test_a_field_refuses_what_it_cannot_hold_and_keeps_its_value(
    context: NodeInitializationContext, field: str, value: object, expected: str
) -> None:
    before = getattr(context, field)
    with pytest.raises(ContextValueError, match=rf"{field}.*{expected}") as caught:
        setattr(context, field, value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)
    assert getattr(context, field) == before
    assert context.changes == ()


def test_a_misspelt_field_is_named_with_the_right_one(context: Any) -> None:
    with pytest.raises(UnknownFieldError, match=r"extra_init_kwarg'.*'extra_init_kwargs'"):
        context.extra_init_kwarg = {}
    with pytest.raises(AttributeError, match="local_node_download_modle"):
        _ = context.local_node_download_modle


@pytest.mark.parametrize("field", ["llm_config", "download_result"])
def test_what_the_system_sets_cannot_be_assigned(context: NodeInitializationContext, field: str) -> None:
    before = getattr(context, field)
    with pytest.raises(ContextSealedError, match=rf"{field}.*system"):
        setattr(context, field, before)


def test_the_configuration_in_the_context_cannot_be_changed(context: Any) -> None:
    with pytest.raises(ConfigError):
        context.llm_config.model_id = "other"
    with pytest.raises(ConfigError):
        context.llm_config.engine_kwargs["dtype"] = "auto"
    assert context.llm_config == LLMConfig(model_id="m")


@pytest.mark.parametrize("field", ["runtime_env", "extra_init_kwargs", "custom_data"])
def test_an_assigned_dict_is_copied_all_the_way_down(context: NodeInitializationContext, field: str) -> None:
    mine: dict[str, Any] = {"nested": {"a": 1}, "list": [1, {"b": [1]}], "tuple": ({"c": 1},), "set": {1}}
    setattr(context, field, mine)
    mine["nested"]["a"] = 2
    mine["list"].append(2)
    mine["list"][1]["b"].append(2)
    mine["tuple"][0]["c"] = 2
    mine["set"].add(2)
    mine["late"] = True
    expected = {"nested": {"a": 1}, "list": [1, {"b": [1]}], "tuple": ({"c": 1},), "set": {1}}
    assert getattr(context, field) == expected


def test_what_is_no_container_is_kept_as_it_is(context: NodeInitializationContext) -> None:
    """It may be a tensor, an actor or a lock."""
    thing = object()
    context.custom_data["things"] = [{"first": thing}]
    assert context.custom_data["things"][0]["first"] is thing


def test_what_the_configuration_gives_to_the_context_can_be_changed_there() -> None:
    given: dict[str, Any] = {"dict": {}, "list": [1], "set": {1}}
    context = NodeInitializationContext(LLMConfig(model_id="m", runtime_env=given))
    context.runtime_env["dict"]["a"] = 1
    context.runtime_env["list"].append(2)
    context.runtime_env["set"].add(2)
    assert context.runtime_env == {"dict": {"a": 1}, "list": [1, 2], "set": {1, 2}}
    assert context.llm_config.runtime_env == {"dict": {}, "list": (1,), "set": {1}}


def test_a_dict_stored_in_a_dict_is_copied(context: NodeInitializationContext) -> None:
    mine = {"a": 1}
    context.custom_data["mine"] = mine
    mine["a"] = 2
    assert context.custom_data == {"mine": {"a": 1}}


# ---- sealing, seen in a whole start on the fakes


def set_local_mode(context: NodeInitializationContext) -> None:
    context.local_node_download_model = "NONE"


def set_worker_mode(context: NodeInitializationContext) -> None:
    context.worker_node_download_model = "NONE"


def set_group(context: NodeInitializationContext) -> None:
    context.placement_group = FakeGroup([{"CPU": 1}])


def set_runtime_env(context: NodeInitializationContext) -> None:
    context.runtime_env = {"env_vars": {}}


def set_kwargs(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs = {"max_model_len": 8}


def set_a_key(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs["max_model_len"] = 8


def set_a_nested_key(context: NodeInitializationContext) -> None:
    context.runtime_env["env_vars"]["B"] = "2"


def delete_a_nested_key(context: NodeInitializationContext) -> None:
    del context.runtime_env["env_vars"]["A"]


def update_kwargs(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs.update(max_model_len=8)


def merge_kwargs(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs |= {"max_model_len": 8}


def default_a_key(context: NodeInitializationContext) -> None:
    context.extra_init_kwargs.setdefault("max_model_len", 8)


def pop_a_key(context: NodeInitializationContext) -> None:
    context.runtime_env.pop("env_vars")


def pop_any_key(context: NodeInitializationContext) -> None:
    context.runtime_env.popitem()


def clear_the_dict(context: NodeInitializationContext) -> None:
    context.runtime_env.clear()


Write = Callable[[NodeInitializationContext], None]


async def start_and_write(event: type[LifecycleEvent], write: Write) -> HandlerError:
    """Start a node on fakes with a write at an event, and return the error."""
    bus = EventBus()
    fakes = Fakes()

    @bus.on(event)
    def late(event: LifecycleEvent) -> None:
        write(event.context)

    config = LLMConfig(model_id="m", runtime_env={"env_vars": {"A": "1"}})
    with pytest.raises(HandlerError) as caught:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pass
    assert fakes.left_behind() == []
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("field", "phase", "last_event", "too_late", "write"),
    [
        ("local_node_download_model", "download", "PreDownload", PostDownload, set_local_mode),
        ("worker_node_download_model", "download", "PostPlacementGroup", PreEngineInit, set_worker_mode),
        ("placement_group", "placement_group", "PrePlacementGroup", PostPlacementGroup, set_group),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, set_runtime_env),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, set_a_nested_key),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, delete_a_nested_key),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, pop_a_key),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, pop_any_key),
        ("runtime_env", "engine_init", "PreEngineInit", PostEngineInit, clear_the_dict),
        ("extra_init_kwargs", "engine_init", "PreEngineInit", PostEngineInit, set_kwargs),
        ("extra_init_kwargs", "engine_init", "PreEngineInit", PostEngineInit, set_a_key),
        ("extra_init_kwargs", "engine_init", "PreEngineInit", PostInitialization, update_kwargs),
        ("extra_init_kwargs", "engine_init", "PreEngineInit", PostEngineInit, merge_kwargs),
        ("extra_init_kwargs", "engine_init", "PreEngineInit", PostEngineInit, default_a_key),
    ],
)
async def test_a_write_after_the_field_was_used_names_field_phase_and_last_event(
    field: str, phase: str, last_event: str, too_late: type[LifecycleEvent], write: Write
) -> None:
    error = await start_and_write(too_late, write)
    for part in ("late failed", "ContextSealedError", f"context.{field}", f"{phase} phase", f"in {last_event}"):
        assert part in str(error)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("last", "write"),
    [
        (PreDownload, set_local_mode),
        (PostPlacementGroup, set_worker_mode),
        (PreEngineInit, set_runtime_env),
        (PreEngineInit, set_kwargs),
        (PreInitialization, set_group),
    ],
)
async def test_a_field_can_be_set_in_its_last_event(last: type[LifecycleEvent], write: Write) -> None:
    bus = EventBus()

    @bus.on(last)
    def in_time(event: LifecycleEvent) -> None:
        write(event.context)

    async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes().backends()) as node:
        assert node.is_running
        assert [change.event for change in node.context.changes if "in_time" in change.handler] != []


@pytest.mark.anyio
async def test_custom_data_can_be_set_in_every_event_and_after_the_start() -> None:
    bus = EventBus()

    @bus.on(LifecycleEvent)
    def note(event: LifecycleEvent) -> None:
        event.context.custom_data[type(event).__name__] = True

    async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes().backends()) as node:
        node.context.custom_data["mine"] = 1
    assert set(node.context.custom_data) == {
        *("PreInitialization", "PreDownload", "PostDownload", "PrePlacementGroup", "PostPlacementGroup"),
        *("PreEngineInit", "PostEngineInit", "PostInitialization", "mine", "PreShutdown", "PostShutdown"),
    }


@pytest.mark.anyio
async def test_fields_of_phases_that_a_veto_skipped_can_no_longer_be_set() -> None:
    """A veto of the initialization takes the context as its handlers left it."""
    bus = EventBus()

    @bus.on(PreInitialization)
    def all_by_myself(_event: PreInitialization) -> bool:
        return False

    @bus.on(PreEngineInit)
    def late(event: PreEngineInit) -> None:
        event.context.placement_group = FakeGroup([{"CPU": 1}])

    with pytest.raises(HandlerError) as caught:
        async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes().backends()):
            pass
    assert isinstance(caught.value.__cause__, ContextSealedError)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert caught.value.__cause__.field == "placement_group"
    assert "initialization" in str(caught.value.__cause__)
