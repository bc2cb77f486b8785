"""Who changed what: the list of changes in the context."""

from typing import Any

import anyio
import pytest

from eventinit import ABSENT, Change, EventBus, LLMConfig, NodeInitializationContext, initialize_node
from eventinit.author import Author, current_author
from eventinit.events import PreDownload, PreEngineInit, PrePlacementGroup
from eventinit.testing import Fakes


@pytest.fixture
def context() -> NodeInitializationContext:
    """Give a context as a start makes it."""
    return NodeInitializationContext(LLMConfig(model_id="m"))


def listed(context: NodeInitializationContext) -> list[tuple[str, Any, Any]]:
    """Return the changes as dotted path, old and new value."""
    return [(change.path, change.old, change.new) for change in context.changes]


def test_setting_a_field_is_one_change_with_old_and_new(context: NodeInitializationContext) -> None:
    context.local_node_download_model = "NONE"
    assert listed(context) == [("local_node_download_model", "MODEL_AND_TOKENIZER", "NONE")]
    assert context.changes[0].key == ()


def test_setting_a_field_to_what_it_is_is_no_change(context: NodeInitializationContext) -> None:
    context.local_node_download_model = "MODEL_AND_TOKENIZER"
    context.custom_data = {}
    assert context.changes == ()


def test_each_way_to_write_a_dict_is_recorded_key_by_key(context: NodeInitializationContext) -> None:
    kwargs = context.extra_init_kwargs
    kwargs["a"] = 1
    kwargs.update({"a": 2}, b=3)
    kwargs.update([("e", 0)])
    context.extra_init_kwargs |= {"c": 4}
    kwargs = context.extra_init_kwargs
    assert kwargs.setdefault("d", 5) == 5
    assert kwargs.setdefault("d", 6) == 5
    assert kwargs.pop("a") == 2
    assert kwargs.pop("a", None) is None
    del kwargs["b"]
    assert kwargs.popitem() == ("d", 5)
    assert listed(context) == [
        ("extra_init_kwargs.a", ABSENT, 1),
        ("extra_init_kwargs.a", 1, 2),
        ("extra_init_kwargs.b", ABSENT, 3),
        ("extra_init_kwargs.e", ABSENT, 0),
        ("extra_init_kwargs.c", ABSENT, 4),
        ("extra_init_kwargs.d", ABSENT, 5),
        ("extra_init_kwargs.a", 2, ABSENT),
        ("extra_init_kwargs.b", 3, ABSENT),
        ("extra_init_kwargs.d", 5, ABSENT),
    ]
    assert kwargs == {"e": 0, "c": 4}
    kwargs.clear()
    assert [path for path, _, new in listed(context)[-2:] if new is ABSENT] == [
        "extra_init_kwargs.e",
        "extra_init_kwargs.c",
    ]


def test_what_fails_is_no_change(context: NodeInitializationContext) -> None:
    with pytest.raises(KeyError):
        del context.custom_data["nothing"]
    with pytest.raises(KeyError):
        context.custom_data.pop("nothing")
    with pytest.raises(KeyError):
        context.custom_data.popitem()
    assert context.changes == ()


def test_writes_in_nested_dicts_are_recorded_with_the_whole_path(context: NodeInitializationContext) -> None:
    context.runtime_env = {"env_vars": {"A": "1"}}
    context.runtime_env["env_vars"]["B"] = "2"
    context.runtime_env["env_vars"] |= {"A": "3"}
    del context.runtime_env["env_vars"]["B"]
    assert context.changes[1].field == "runtime_env"
    assert context.changes[1].key == ("env_vars", "B")
    assert listed(context)[1:] == [
        ("runtime_env.env_vars.B", ABSENT, "2"),
        ("runtime_env.env_vars.A", "1", "3"),
        ("runtime_env.env_vars.B", "2", ABSENT),
    ]


def test_assigning_a_whole_dict_lists_only_the_keys_that_differ(context: NodeInitializationContext) -> None:
    context.custom_data = {"same": 1, "changes": 1, "goes": 1}
    before = len(context.changes)
    context.custom_data = {"same": 1, "changes": 2, "comes": 3}
    assert sorted(listed(context)[before:]) == [
        ("custom_data.changes", 1, 2),
        ("custom_data.comes", ABSENT, 3),
        ("custom_data.goes", 1, ABSENT),
    ]


def test_a_change_shows_the_values_of_its_time(context: NodeInitializationContext) -> None:
    context.custom_data["list"] = [1]
    context.custom_data["list"] = [1, 2]
    context.custom_data["dict"] = {"a": 1}
    context.custom_data["dict"]["a"] = 2
    context.custom_data["list"].append(3)
    assert listed(context)[:3] == [
        ("custom_data.list", ABSENT, [1]),
        ("custom_data.list", [1], [1, 2]),
        ("custom_data.dict", ABSENT, {"a": 1}),
    ]


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0)])
def test_a_change_of_type_alone_is_a_change(context: NodeInitializationContext, old: object, new: object) -> None:
    context.extra_init_kwargs["enforce_eager"] = old
    context.extra_init_kwargs["enforce_eager"] = new
    assert [type(change.new) for change in context.changes] == [type(old), type(new)]


class LikeAnArray:
    """Compares element by element, as arrays and tensors do: the result has no truth value."""

    def __eq__(self, other: object) -> Any:
        return LikeAnArray()

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


def test_values_that_compare_like_arrays_can_be_replaced(context: NodeInitializationContext) -> None:
    """A context holds whatever a handler puts there, tensors included."""
    first, second = LikeAnArray(), LikeAnArray()
    context.custom_data["prompt_embedding"] = first
    context.custom_data["prompt_embedding"] = second
    assert context.custom_data["prompt_embedding"] is second
    assert len(context.changes) == 2


def test_a_dict_that_was_taken_out_of_the_context_is_no_longer_part_of_it(context: NodeInitializationContext) -> None:
    context.custom_data["mine"] = {"a": 1}
    mine = context.custom_data.pop("mine")
    before = context.changes
    mine["a"] = 2
    assert context.changes == before


def test_a_write_to_a_dict_that_was_replaced_is_not_listed_as_if_it_counted(
    context: NodeInitializationContext,
) -> None:
    """The dict that was replaced is the holder's own, all the way down, and can be assigned again."""
    context.runtime_env = {"env_vars": {"A": "1"}}
    before = context.runtime_env
    context.runtime_env = {}
    changes = context.changes
    before["pip"] = ["x"]
    before["env_vars"]["A"] = "2"
    del before["env_vars"]["A"]
    assert context.changes == changes
    assert context.runtime_env == {}
    context.runtime_env = before
    assert context.runtime_env == {"env_vars": {}, "pip": ["x"]}


def test_a_merge_leaves_earlier_references_to_the_dict_in_place(context: NodeInitializationContext) -> None:
    """``|=`` on a dict changes that dict, so whoever holds it still holds the context's."""
    kwargs = context.extra_init_kwargs
    context.extra_init_kwargs |= {"max_model_len": 8}
    kwargs["dtype"] = "float32"
    assert context.extra_init_kwargs == {"max_model_len": 8, "dtype": "float32"}
    assert [change.path for change in context.changes] == ["extra_init_kwargs.max_model_len", "extra_init_kwargs.dtype"]


def test_a_merge_into_a_nested_dict_leaves_that_dict_in_place_too(context: NodeInitializationContext) -> None:
    context.runtime_env["env_vars"] = {"A": "1"}
    variables = context.runtime_env["env_vars"]
    context.runtime_env["env_vars"] |= {"B": "2"}
    variables["C"] = "3"
    assert context.runtime_env == {"env_vars": {"A": "1", "B": "2", "C": "3"}}
    assert context.changes[-1].path == "runtime_env.env_vars.C"


@pytest.mark.anyio
async def test_a_change_names_its_handler_its_event_and_when() -> None:
    bus = EventBus()
    times: list[float] = []

    @bus.on(PreEngineInit)
    async def tune(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["max_model_len"] = 8
        times.append(event.at)

    async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=Fakes().backends()) as node:
        change = next(change for change in node.context.changes if change.field == "extra_init_kwargs")
    assert isinstance(change, Change)
    assert (change.handler, change.event) == ("tune", "PreEngineInit")
    assert 0 <= change.at - times[0] < 60
    for part in ("extra_init_kwargs.max_model_len", "8", "tune", "PreEngineInit"):
        assert part in str(change)


@pytest.mark.anyio
async def test_what_the_start_itself_sets_is_listed_as_the_systems() -> None:
    async with initialize_node(LLMConfig(model_id="m"), backends=Fakes().backends()) as node:
        authors = {change.field: change.handler for change in node.context.changes}
    assert authors == {"download_result": "eventinit", "placement_group": "eventinit"}


@pytest.mark.anyio
@pytest.mark.parametrize("in_thread", [False, True])
async def test_two_handlers_interleaved_in_two_tasks_are_told_apart(in_thread: bool) -> None:
    """The download's and the reservation's handlers write in turns, each before the other has ended."""
    bus = EventBus()
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    turns = {name: anyio.Event() for name in ("first", "second", "third")}

    @bus.on(PreDownload)
    async def downloads(event: PreDownload) -> None:
        event.context.custom_data["x"] = 1
        turns["first"].set()
        await turns["second"].wait()
        event.context.custom_data["x"] = 3
        turns["third"].set()

    async def write(value: int) -> None:
        if in_thread:
            await anyio.to_thread.run_sync(context.custom_data.__setitem__, "x", value)
        else:
            context.custom_data["x"] = value

    @bus.on(PrePlacementGroup)
    async def reserves(event: PrePlacementGroup) -> None:
        await turns["first"].wait()
        await write(2)
        turns["second"].set()
        await turns["third"].wait()
        await write(4)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, PreDownload(context=context))
        tasks.start_soon(bus.emit, PrePlacementGroup(context=context))
    assert [(change.new, change.handler, change.event) for change in context.changes] == [
        (1, "downloads", "PreDownload"),
        (2, "reserves", "PrePlacementGroup"),
        (3, "downloads", "PreDownload"),
        (4, "reserves", "PrePlacementGroup"),
    ]


@pytest.mark.anyio
async def test_after_a_nested_emit_the_outer_handler_is_the_author_again() -> None:
    bus = EventBus()
    context = NodeInitializationContext(LLMConfig(model_id="m"))

    @bus.on(PreDownload)
    async def outer(event: PreDownload) -> None:
        event.context.custom_data["x"] = 1
        await bus.emit(PrePlacementGroup(context=event.context))
        event.context.custom_data["x"] = 3

    @bus.on(PrePlacementGroup)
    def inner(event: PrePlacementGroup) -> None:
        event.context.custom_data["x"] = 2

    await bus.emit(PreDownload(context=context))
    context.custom_data["x"] = 4
    assert [change.handler for change in context.changes[:3]] == ["outer", "inner", "outer"]
    assert context.changes[3].handler not in {"outer", "inner"}


def test_changed_by_tells_the_changes_of_a_key_and_of_what_is_below_it() -> None:
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    context.extra_init_kwargs["a"] = 1
    context.extra_init_kwargs["ab"] = 1
    context.extra_init_kwargs["a"] = {"b": 2}
    assert [change.new for change in context.changed_by("extra_init_kwargs.a")] == [1, {"b": 2}]
    assert len(context.changed_by("extra_init_kwargs")) == 3
    assert context.changed_by("custom_data") == ()


@pytest.mark.anyio
async def test_changed_by_follows_a_key_through_every_way_in_which_handlers_write_it(
    context: NodeInitializationContext,
) -> None:
    bus = EventBus()

    @bus.on(PreDownload)
    def sets_the_key(event: PreDownload) -> None:
        event.context.extra_init_kwargs["gpu_memory_utilization"] = 0.9

    @bus.on(PrePlacementGroup)
    def sets_the_dict(event: PrePlacementGroup) -> None:
        event.context.extra_init_kwargs = {"gpu_memory_utilization": 0.8, "hf_overrides": {"rope": {"factor": 2}}}

    @bus.on(PreEngineInit)
    def sets_a_nested_key(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["hf_overrides"]["rope"]["factor"] = 4
        del event.context.extra_init_kwargs["gpu_memory_utilization"]

    for event in (PreDownload, PrePlacementGroup, PreEngineInit):
        await bus.emit(event(context=context))
    assert [(change.handler, change.new) for change in context.changed_by("extra_init_kwargs.hf_overrides")] == [
        ("sets_the_dict", {"rope": {"factor": 2}}),
        ("sets_a_nested_key", 4),
    ]
    assert [
        (change.handler, change.new) for change in context.changed_by("extra_init_kwargs.gpu_memory_utilization")
    ] == [
        ("sets_the_key", 0.9),
        ("sets_the_dict", 0.8),
        ("sets_a_nested_key", ABSENT),
    ]
    [change] = context.changed_by("extra_init_kwargs.hf_overrides.rope.factor")
    assert (change.old, change.new, change.handler) == (2, 4, "sets_a_nested_key")


def test_keys_that_are_no_text_are_named_by_their_text(context: NodeInitializationContext) -> None:
    context.custom_data = {"ports": {8000: "free"}}
    context.custom_data = {"ports": {8000: "taken"}}
    context.custom_data["ports"][8000] = "free"
    assert listed(context)[1:] == [
        ("custom_data.ports.8000", "free", "taken"),
        ("custom_data.ports.8000", "taken", "free"),
    ]


@pytest.mark.anyio
async def test_each_call_of_a_handler_knows_what_it_has_changed() -> None:
    """What a nested emit's handlers change is theirs."""
    bus = EventBus()
    context = NodeInitializationContext(LLMConfig(model_id="m"))
    authors: list[Author | None] = []

    @bus.on(PreDownload)
    async def outer(event: PreDownload) -> None:
        event.context.custom_data["x"] = 1
        await bus.emit(PrePlacementGroup(context=event.context))
        event.context.custom_data["y"] = {"z": 1}
        authors.append(current_author.get())

    @bus.on(PrePlacementGroup, thread=True)
    def inner(event: PrePlacementGroup) -> None:
        event.context.custom_data["x"] = 2
        authors.append(current_author.get())

    await bus.emit(PreDownload(context=context))
    await bus.emit(PreDownload(context=context))
    changed = [[(change.path, change.new) for change in author.changes] for author in authors if author]
    assert changed[:2] == [[("custom_data.x", 2)], [("custom_data.x", 1), ("custom_data.y", {"z": 1})]]
    assert changed[2:] == [[("custom_data.x", 2)], [("custom_data.x", 1)]]
