"""What a veto skips, and how the phase's post event tells it."""

from collections.abc import Callable
from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, Veto, initialize_node
from eventinit.errors import ContextSealedError, HandlerError, PhaseTimeoutError, PlacementError
from eventinit.events import (
    PostDownload,
    PostInitialization,
    PostPlacementGroup,
    PreDownload,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
)
from eventinit.testing import FakeGroup, Fakes

pytestmark = pytest.mark.anyio


def veto(_event: Any) -> Veto:
    return Veto("not needed")


async def test_a_vetoed_download_is_not_fetched_and_its_post_event_says_so(
    bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    outcomes: list[tuple[str, tuple[str, ...]]] = []
    bus.on(PreDownload, veto)
    bus.on(PostDownload, lambda event: outcomes.append((event.outcome.status, event.outcome.reasons)))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.context.download_result is None
        assert node.engine.request.arguments["model"] == "tiny"
    assert outcomes == [("vetoed", ("veto: not needed",))]
    assert fakes.source.fetched == []


async def test_a_vetoed_placement_group_is_not_made(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    outcomes: list[str] = []
    bus.on(PrePlacementGroup, lambda _event: False)
    bus.on(PostPlacementGroup, lambda event: outcomes.append(event.outcome.status))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.engine.request.group is None
    assert outcomes == ["vetoed"]
    assert fakes.cluster.groups == []


async def test_a_vetoed_initialization_goes_straight_to_the_engine(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig
) -> None:
    group = FakeGroup([{"CPU": 1.0}])

    @bus.on(PreInitialization)
    def replace_everything(event: PreInitialization) -> bool:
        event.context.placement_group = group
        event.context.runtime_env = {"env_vars": {"A": "1"}}
        event.context.extra_init_kwargs = {"model": "/baked/in"}
        return False

    outcomes: list[str] = []
    bus.on(PostInitialization, lambda event: outcomes.append(event.outcome.status))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        request = node.engine.request
        assert names == ["PreInitialization", "PreEngineInit", "PostEngineInit", "PostInitialization"]
    assert request.group is group
    assert request.runtime_env == {"env_vars": {"A": "1"}}
    assert request.arguments["model"] == "/baked/in"
    assert outcomes == ["vetoed"]
    assert not group.removed, "a group that a handler supplied is never ours to remove"


@pytest.mark.parametrize("also_veto", [True, False])
async def test_a_supplied_group_is_used_and_left_alone(
    also_veto: bool, bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    group = FakeGroup([{"CPU": 1.0}])
    outcomes: list[str] = []

    @bus.on(PrePlacementGroup)
    def supply(event: PrePlacementGroup) -> bool | None:
        event.context.placement_group = group
        return False if also_veto else None

    bus.on(PostPlacementGroup, lambda event: outcomes.append(event.outcome.status))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.engine.request.group is group
    assert outcomes == ["vetoed" if also_veto else "supplied"]
    assert fakes.cluster.groups == []
    assert not group.removed


async def test_a_supplied_group_that_is_none_is_refused(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    @bus.on(PrePlacementGroup)
    def supply(event: PrePlacementGroup) -> None:
        event.context.placement_group = "my group"

    with pytest.raises(PlacementError, match="'my group'"):
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pass
    assert fakes.left_behind() == []


@pytest.mark.parametrize("event_type", [PreInitialization, PrePlacementGroup])
async def test_a_supplied_group_is_waited_for(event_type: type[Any], bus: EventBus, fakes: Fakes) -> None:
    """Until it is ready nobody knows its nodes, which may have to fetch the model."""
    fakes.cluster.ready_after_s = None

    @bus.on(event_type)
    def supply(event: Any) -> bool:
        event.context.placement_group = FakeGroup([{"CPU": 1.0}])
        return False

    config = LLMConfig(model_id="tiny", placement_timeout_s=0.05, initialization_timeout_s=0.1)
    with pytest.raises(PhaseTimeoutError):
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pytest.fail("the group never becomes ready")


LATE: list[tuple[type[Any], Callable[[Any], None], str]] = [
    (PostDownload, lambda ctx: setattr(ctx, "local_node_download_model", "NONE"), "PreDownload"),
    (PostPlacementGroup, lambda ctx: setattr(ctx, "placement_group", object()), "PrePlacementGroup"),
    (PreEngineInit, lambda ctx: setattr(ctx, "worker_node_download_model", "NONE"), "PostPlacementGroup"),
    (PostInitialization, lambda ctx: ctx.extra_init_kwargs.update(dtype="auto"), "PreEngineInit"),
    (PostInitialization, lambda ctx: setattr(ctx, "runtime_env", {}), "PreEngineInit"),
]


@pytest.mark.parametrize(("event_type", "write", "last"), LATE, ids=[f"{e.__name__}-{last}" for e, _, last in LATE])
async def test_a_field_that_was_used_cannot_be_set_any_more(
    event_type: type[Any],
    write: Callable[[Any], None],
    last: str,
    bus: EventBus,
    fakes: Fakes,
    config: LLMConfig,
) -> None:
    """The error names the last event in which the field could have been set, and the start fails."""
    bus.on(event_type, lambda event: write(event.context))
    with pytest.raises(HandlerError, match=f"set it in {last} or before") as failure:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pass
    assert isinstance(failure.value.__cause__, ContextSealedError)
    assert fakes.left_behind() == []


@pytest.mark.parametrize("field", ["local_node_download_model", "worker_node_download_model", "placement_group"])
async def test_what_a_vetoed_initialization_skips_cannot_be_set_afterwards(
    field: str, bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    bus.on(PreInitialization, veto)
    bus.on(PreEngineInit, lambda event: setattr(event.context, field, "NONE"))
    with pytest.raises(HandlerError, match=field):
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pass
