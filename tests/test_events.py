"""The events: frozen values that survive the way through JSON, all but their context."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eventinit import Event, LLMConfig, NodeInitializationContext, VetoableEvent
from eventinit.errors import ConfigError, DetachedContextError, EventInitError
from eventinit.events import (
    CATALOGUE,
    ContextEvent,
    DownloadProgress,
    EngineDied,
    LifecycleEvent,
    PhaseFailed,
    PhaseOutcome,
    PlacementPending,
    PostEvent,
    PostNodeDownload,
    PreDownload,
    PreInitialization,
    PreNodeDownload,
    PrePlacementGroup,
    StartEvent,
    from_json,
    to_json,
)

HOOKS = {
    "on_pre_initialization",
    "on_pre_download",
    "on_post_download",
    "on_pre_placement_group",
    "on_post_placement_group",
    "on_pre_engine_init",
    "on_post_engine_init",
    "on_post_initialization",
    "on_pre_node_download",
    "on_post_node_download",
}
ON_A_NODE: dict[str, Any] = {"node_id": "n1", "mode": "TOKENIZER_ONLY", "is_local": False}
SPECIAL: dict[type[StartEvent], dict[str, Any]] = {
    DownloadProgress: {
        "node_id": "n1",
        "bytes_done": 1,
        "bytes_total": 2,
        "files_done": 0,
        "files_total": 1,
        "bytes_per_second": 0.1,
    },
    PreNodeDownload: ON_A_NODE,
    PostNodeDownload: {
        **ON_A_NODE,
        "path": Path("/models/m"),
        "source": "s3://models/m",
        "files": 3,
        "bytes_total": 9,
        "bytes_fetched": 4,
        "seconds": 0.5,
    },
    PhaseFailed: {"failed_phase": "download", "error": "KeyError", "message": "“x”\n", "cancelled": True},
    EngineDied: {"reason": "killed by signal 9"},
    PlacementPending: {
        "bundles": 4,
        "waiting": ({"CPU": 1.0, "GPU": 1.0},),
        "free": {"n1": {"CPU": 3.0}},
        "starting": {"gpu-node": 1},
        "waited_s": 3.5,
        "explanation": "1 of 4 bundle(s) wait for GPU: 1 each",
    },
}
SECRET = "hf_abcdefghijklmnop"


def example(kind: type[StartEvent]) -> StartEvent:
    """Return an event of a class with something in every field."""
    fields: dict[str, Any] = {"start_id": "abc", **SPECIAL.get(kind, {})}
    if issubclass(kind, PostEvent):
        fields["outcome"] = PhaseOutcome(status="vetoed", reasons=("me: no",), seconds=1.5)
    if issubclass(kind, ContextEvent):
        fields["context"] = NodeInitializationContext(LLMConfig(model_id="m", callback_kwargs={"token": SECRET}))
    return kind(**fields)


def test_the_catalogue_has_the_ten_hooks_and_every_event_once() -> None:
    hooks = [kind.hook for kind in CATALOGUE if kind.hook]
    assert sorted(hooks) == sorted(HOOKS)
    assert len(set(CATALOGUE)) == len(CATALOGUE)
    assert {DownloadProgress, EngineDied, PhaseFailed} < set(CATALOGUE)


def test_exactly_three_events_can_be_vetoed() -> None:
    vetoable = {kind for kind in CATALOGUE if issubclass(kind, VetoableEvent)}
    assert vetoable == {PreInitialization, PreDownload, PrePlacementGroup}


@pytest.mark.parametrize("kind", CATALOGUE)
def test_every_event_survives_json_without_its_context(kind: type[StartEvent]) -> None:
    event = example(kind)
    line = to_json(event)
    again = from_json(line)
    assert type(again) is kind
    assert "\n" not in line
    assert "context" not in json.loads(line)["data"]
    assert SECRET not in line
    assert again.model_dump() == event.model_dump()
    assert again.model_dump()["start_id"] == "abc"


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE if issubclass(kind, ContextEvent)])
def test_the_context_of_a_rebuilt_event_says_why_it_is_not_there(kind: type[StartEvent]) -> None:
    again = from_json(to_json(example(kind)))
    assert isinstance(again, ContextEvent)
    with pytest.raises(DetachedContextError, match=r"custom_data.*JSON.*subscribe") as caught:
        _ = again.context.custom_data
    assert isinstance(caught.value, (EventInitError, AttributeError))
    assert "JSON" in repr(again.context)


def test_the_context_of_a_rebuilt_event_cannot_be_written_either() -> None:
    """What is written there would be lost, and seen in every other rebuilt event."""
    again = from_json(to_json(example(PreDownload)))
    assert isinstance(again, PreDownload)
    with pytest.raises(DetachedContextError):
        again.context.custom_data = {"lost": True}
    with pytest.raises(DetachedContextError):
        del again.context.custom_data


@pytest.mark.parametrize("kind", CATALOGUE)
def test_an_event_is_frozen(kind: type[StartEvent]) -> None:
    event: Any = example(kind)
    before = event.model_dump()
    for name in ("start_id", "at", "no_such_field"):
        with pytest.raises(ValidationError):
            setattr(event, name, "x")
    assert event.model_dump() == before


def test_an_event_refuses_fields_that_it_does_not_have() -> None:
    fields: Any = {"strat_id": "x"}
    with pytest.raises(ValidationError, match="strat_id"):
        PreDownload(**fields)


class Checkpoint(Event):
    """An event of a user's own."""

    n: int = 0
    path: Path = Path("/tmp")
    when: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    tags: tuple[str, ...] = ()


class BigCheckpoint(Checkpoint):
    """One that derives from it."""

    size: float = 0.5


class MayICheckpoint(LifecycleEvent, VetoableEvent):
    """One with a context."""


def test_events_of_users_survive_json_with_their_types() -> None:
    event = BigCheckpoint(n=3, path=Path("/a/b"), tags=("x", "y"))
    assert from_json(to_json(event)) == event
    assert from_json(to_json(Checkpoint())) == Checkpoint()
    assert isinstance(from_json(to_json(MayICheckpoint(start_id="s"))), MayICheckpoint)


def test_two_events_of_the_same_name_are_told_apart() -> None:
    """A user's event may bear the name of another library's, or of one of ours."""
    ours: Any = type("Twin", (Event,), {"__module__": "library_a", "__annotations__": {"a": int}})
    theirs: Any = type("Twin", (Event,), {"__module__": "library_b", "__annotations__": {"b": int}})
    for event in (ours(a=1), theirs(b=1)):
        assert type(from_json(to_json(event))) is type(event)


def test_an_event_of_a_user_may_bear_the_name_of_one_of_ours() -> None:
    theirs: Any = type("PreDownload", (Event,), {"__module__": "library_c", "__annotations__": {"n": int}})
    for event in (theirs(n=1), example(PreDownload)):
        assert type(from_json(to_json(event))) is type(event)
    assert json.loads(to_json(example(PreDownload)))["event"] == "PreDownload"


def test_a_name_that_two_events_share_is_refused() -> None:
    """As after a module was reloaded, when nobody can tell which of the two is meant."""
    twice: list[Any] = [type("Twice", (Event,), {"__module__": "library_d"}) for _ in range(2)]
    with pytest.raises(ConfigError, match=r"library_d:Twice.*2 events"):
        from_json(to_json(twice[0]()))


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("", "no event"),
        ("[]", "no event"),
        ("{}", "no event"),
        ("null", "no event"),
        ('{"event": "PreDownlod", "data": {}}', "'PreDownload'"),
        ('{"event": "EngineDied", "data": {}}', "reason"),
        ('{"event": "EngineDied", "data": {"reason": "x", "more": 1}}', "more"),
        ('{"event": "EngineDied", "data": []}', "EngineDied"),
    ],
)
def test_a_line_that_is_no_event_is_one_typed_error(line: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        from_json(line)


def test_events_of_the_same_values_are_equal_and_can_be_in_a_set() -> None:
    assert Checkpoint(n=1) == Checkpoint(n=1)
    events: list[Any] = [Checkpoint(n=1), Checkpoint(n=1), Checkpoint(n=2)]
    assert len(set(events)) == 2


def test_the_text_of_an_event_does_not_show_its_context() -> None:
    assert SECRET not in repr(example(PreDownload))
    assert SECRET not in str(example(PreDownload))
