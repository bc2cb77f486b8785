"""Vetoes, and a failure in each phase, on a Ray that can be asked afterwards which groups are left."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eventinit import Event, EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.errors import EngineArgumentError, EventInitError, HandlerError, InfeasibleGroupError, ModelNotFoundError
from eventinit.events import PostEngineInit, PostPlacementGroup, PreDownload, PreInitialization, PrePlacementGroup
from tests.real.environment import TINY_ENGINE, processes_of_a_node

pytestmark = [pytest.mark.real, pytest.mark.asyncio, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A Ray that the process had before any node."""
    ray: Any = importlib.import_module("ray")
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def living_groups(ray: Any) -> Callable[[], list[str]]:
    """Asks Ray for the names of the groups that are not removed."""

    def ask() -> list[str]:
        table: dict[str, Any] = ray.util.placement_group_table()
        return [group["name"] for group in table.values() if group["state"] != "REMOVED"]

    return ask


@pytest.fixture
def bus(ray: Any, real_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> EventBus:
    """A bus, in a process that reaches the store."""
    for name in (name for name in real_environment if name.startswith(("AWS_", "EVENTINIT_", "VLLM_", "HF_"))):
        monkeypatch.setenv(name, real_environment[name])
    return EventBus()


@pytest.fixture
def config(tiny_uri: str) -> LLMConfig:
    return LLMConfig(model_id="tiny", model_source=tiny_uri, engine_kwargs=TINY_ENGINE)


async def test_vetoed_download_and_group_leave_the_engine_to_the_handlers(
    bus: EventBus, config: LLMConfig, tiny_model: Path, living_groups: Callable[[], list[str]]
) -> None:
    @bus.on(PreDownload)
    def already_here(event: PreDownload) -> bool:
        event.context.extra_init_kwargs["model"] = str(tiny_model)
        return False

    bus.on(PrePlacementGroup, lambda _event: False)
    async with initialize_node(config, bus=bus) as node:
        assert node.context.download_result is None
        assert node.engine.model_config.model == str(tiny_model)
        assert living_groups() == []


async def test_a_vetoed_initialization_starts_the_engine_on_the_handlers_group(
    bus: EventBus, config: LLMConfig, tiny_model: Path, ray: Any, living_groups: Callable[[], list[str]]
) -> None:
    """And a group that a handler brought is still there afterwards."""
    own = ray.util.placement_group([{"CPU": 1}], name="my own")
    ray.get(own.ready())

    @bus.on(PreInitialization)
    def replace_everything(event: PreInitialization) -> bool:
        event.context.placement_group = own
        event.context.extra_init_kwargs = {"model": str(tiny_model)}
        return False

    try:
        async with initialize_node(config, bus=bus) as node:
            assert node.engine.model_config.model == str(tiny_model)
        assert living_groups() == ["my own"]
    finally:
        ray.util.remove_placement_group(own)


def raising(event: Event) -> None:
    raise OSError(f"not on {type(event).__name__}")


FAILURES: list[tuple[str, dict[str, Any], type[Event] | None, type[EventInitError]]] = [
    ("initialization", {}, PreInitialization, HandlerError),
    ("download", {"model_source": "s3://models/no-such-model"}, None, ModelNotFoundError),
    (
        "placement group",
        {"placement_group_config": PlacementGroupConfig(bundles=({"GPU": 1},))},
        None,
        InfeasibleGroupError,
    ),
    ("placement group ready", {}, PostPlacementGroup, HandlerError),
    ("engine", {"engine_kwargs": {**TINY_ENGINE, "max_model_len": 100_000}}, None, EngineArgumentError),
    ("engine up", {}, PostEngineInit, HandlerError),
]


@pytest.mark.parametrize(
    ("fields", "failing", "expected"), [failure[1:] for failure in FAILURES], ids=[failure[0] for failure in FAILURES]
)
async def test_a_start_that_fails_in_any_phase_leaves_no_group_and_no_process(
    fields: dict[str, Any],
    failing: type[Event] | None,
    expected: type[EventInitError],
    bus: EventBus,
    config: LLMConfig,
    ray: Any,
    living_groups: Callable[[], list[str]],
) -> None:
    before = processes_of_a_node(psutil.Process())
    if failing is not None:
        bus.on(failing, raising)
    with pytest.raises(expected):
        async with initialize_node(LLMConfig(**{**dict(config), **fields}), bus=bus):
            pytest.fail("the start was to fail")
    assert living_groups() == []
    assert set(processes_of_a_node(psutil.Process())) <= set(before)
    assert ray.is_initialized(), "a Ray that was there before stays"
