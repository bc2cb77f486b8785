"""A start that fails: one typed error, each phase paired, and nothing left behind."""

import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from eventinit import (
    Event,
    EventBus,
    LLMConfig,
    NodeInitializationContext,
    NodeInitializer,
    PlacementGroupConfig,
    initialize_node,
)
from eventinit.errors import (
    DownloadError,
    EngineArgumentError,
    EngineDiedError,
    EngineError,
    EventInitError,
    GroupTooSmallError,
    HandlerError,
    InfeasibleGroupError,
    LifecycleError,
    PhaseTimeoutError,
    PlacementError,
    StoreUnavailableError,
)
from eventinit.events import (
    CATALOGUE,
    EngineDied,
    PhaseFailed,
    PlacementPending,
    PostShutdown,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
    PreShutdown,
)
from eventinit.joining import Awaited
from eventinit.testing import FakeGroup, Fakes

pytestmark = pytest.mark.anyio


@pytest.fixture
def down() -> StoreUnavailableError:
    return StoreUnavailableError("s3://models/tiny", "does not answer")


async def start_and_fail(config: LLMConfig, bus: EventBus, fakes: Fakes) -> EventInitError:
    with pytest.raises(EventInitError) as failure:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pytest.fail("the start was to fail")
    assert fakes.left_behind() == []
    assert not bus.is_open
    return failure.value


def assert_paired(names: list[str]) -> None:
    """Exactly one post event or failure follows each pre event that fired."""
    phases = {kind.__name__: kind.phase for kind in CATALOGUE}
    opened = [phases[name] for name in names if name.startswith("Pre")]
    ended = [name.partition(":")[2] or phases[name] for name in names if name.startswith(("Post", "PhaseFailed"))]
    assert sorted(map(str, opened)) == sorted(map(str, ended)), names


async def test_a_failing_download_is_raised_as_it_is(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig, down: StoreUnavailableError
) -> None:
    fakes.source.fails_with, fakes.cluster.ready_after_s = down, None
    error = await start_and_fail(config, bus, fakes)
    assert error is down
    assert "PhaseFailed:download" in names
    assert "PhaseFailed:placement_group" in names, "the other branch was cancelled"
    assert_paired(names)


async def test_a_failing_reservation_ends_the_download(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig
) -> None:
    fakes.cluster.fails_with, fakes.source.seconds = PlacementError("Ray is gone"), 3600.0
    error = await start_and_fail(config, bus, fakes)
    assert error is fakes.cluster.fails_with
    assert_paired(names)


async def test_a_failing_engine_is_raised_and_the_group_is_removed(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig
) -> None:
    fakes.engine.fails_with = EngineError("no")
    assert await start_and_fail(config, bus, fakes) is fakes.engine.fails_with
    assert [group.removed for group in fakes.cluster.groups] == [True]
    assert names[-2:] == ["PhaseFailed:engine_init", "PhaseFailed:initialization"]
    assert_paired(names)


async def test_when_both_branches_fail_the_first_error_has_the_other_attached(
    bus: EventBus, fakes: Fakes, config: LLMConfig, down: StoreUnavailableError
) -> None:
    fakes.source.fails_with = down
    fakes.cluster.ready_after_s = None

    class StubbornError(Exception):
        """What the reservation raises in place of ending quietly when it is cancelled."""

    real = fakes.cluster.wait_until_ready

    class Cluster(type(fakes.cluster)):  # type: ignore[misc]
        async def wait_until_ready(self, group: object) -> None:
            try:
                await real(group)
            finally:
                raise StubbornError

    fakes.cluster = Cluster(ready_after_s=None)
    error = await start_and_fail(config, bus, fakes)
    assert error is down
    assert [type(other.__cause__) for other in error.also] == [StubbornError]


NOT_IN_EVERY_START: set[type[Event]] = {PlacementPending, PhaseFailed, EngineDied, PreShutdown, PostShutdown}
BEFORE_HANDING_OUT = [kind for kind in CATALOGUE if kind not in NOT_IN_EVERY_START]


@pytest.mark.parametrize("event_type", BEFORE_HANDING_OUT)
async def test_a_failing_handler_of_any_event_fails_the_start_and_leaves_nothing(
    event_type: type[Event],
    bus: EventBus,
    names: list[str],
    fakes: Fakes,
    config: LLMConfig,
    fail_on: Callable[[type[Event]], None],
) -> None:
    fail_on(event_type)
    error = await start_and_fail(config, bus, fakes)
    assert isinstance(error, HandlerError)
    assert error.event == event_type.__name__
    assert isinstance(error.__cause__, RuntimeError)
    assert_paired(names)


async def test_failing_handlers_of_the_failure_do_not_hide_it(
    bus: EventBus,
    fakes: Fakes,
    config: LLMConfig,
    fail_on: Callable[[type[Event]], None],
    down: StoreUnavailableError,
) -> None:
    fail_on(PhaseFailed)
    fakes.source.fails_with = down
    assert await start_and_fail(config, bus, fakes) is down


async def test_the_next_start_on_the_same_bus_works(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    fakes.engine.fails_with = EngineError("no")
    await start_and_fail(config, bus, fakes)
    fakes.engine.fails_with = None
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.is_running


@pytest.mark.parametrize("key", ["engine_kwargs", "extra_init_kwargs"])
async def test_an_unknown_engine_argument_ends_the_download(key: str, bus: EventBus, fakes: Fakes) -> None:
    """It is refused with the nearest right name as soon as the names are known, long before the weights are there."""
    fakes.source.seconds = 3600.0
    config = LLMConfig(model_id="tiny", engine_kwargs={"max_modle_len": 64} if key == "engine_kwargs" else {})
    if key == "extra_init_kwargs":

        @bus.on(PreInitialization)
        def misspell(event: PreInitialization) -> None:
            event.context.extra_init_kwargs["max_modle_len"] = 64

    error = await start_and_fail(config, bus, fakes)
    assert isinstance(error, EngineArgumentError)
    assert "'max_modle_len'" in str(error)
    assert "'max_model_len'" in str(error)
    assert key in str(error)


async def test_an_unknown_engine_argument_that_is_like_no_other_gets_a_list_of_bearable_length(
    bus: EventBus, fakes: Fakes
) -> None:
    """vLLM has some two hundred."""
    fakes.engine.known |= {f"argument_{number}" for number in range(200)}
    error = await start_and_fail(LLMConfig(model_id="tiny", engine_kwargs={"qqqq": 1}), bus, fakes)
    assert str(error).endswith(", …")
    assert len(str(error)) < 500


async def test_a_group_that_can_never_fit_is_refused_at_once(bus: EventBus, fakes: Fakes) -> None:
    fakes.cluster.resources, fakes.cluster.ready_after_s = [{"CPU": 2.0}], None
    config = LLMConfig(model_id="tiny", placement_group_config=PlacementGroupConfig(bundles=({"CPU": 1, "GPU": 1},)))
    error = await start_and_fail(config, bus, fakes)
    assert isinstance(error, InfeasibleGroupError)
    assert "no node has CPU: 1, GPU: 1 (the largest has CPU: 2, GPU: 0), and no autoscaler runs" in str(error)
    assert fakes.cluster.groups == []


TIMEOUTS: list[tuple[str, str]] = [
    ("download_timeout_s", "download"),
    ("placement_timeout_s", "placement_group"),
    ("engine_timeout_s", "engine_init"),
    ("initialization_timeout_s", "initialization"),
]


@pytest.mark.parametrize(("setting", "phase"), TIMEOUTS)
async def test_a_phase_that_takes_too_long_names_the_setting(
    setting: str, phase: str, bus: EventBus, names: list[str], fakes: Fakes
) -> None:
    if phase == "download":
        fakes.source.seconds = 3600.0
    elif phase == "placement_group":
        fakes.cluster.ready_after_s = None
    else:
        fakes.engine.seconds = 3600.0
    settings: dict[str, Any] = {"model_id": "tiny", setting: 0.05}
    config = LLMConfig(**settings)
    error = await start_and_fail(config, bus, fakes)
    assert isinstance(error, PhaseTimeoutError)
    assert (error.phase, error.timeout_s, error.setting) == (phase, 0.05, setting)
    assert f"raise {setting}" in str(error)
    assert_paired(names)


async def test_waiting_for_the_group_does_not_count_against_the_download(fakes: Fakes) -> None:
    fakes.cluster.ready_after_s = 0.3
    config = LLMConfig(model_id="tiny", download_timeout_s=0.1)
    async with initialize_node(config, backends=fakes.backends()) as node:
        assert node.is_running


async def test_more_workers_in_pre_engine_init_replace_our_group_once(
    bus: EventBus, fakes: Fakes, config: LLMConfig, caplog: pytest.LogCaptureFixture
) -> None:
    @bus.on(PreEngineInit)
    def four(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["tensor_parallel_size"] = 4

    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.engine.request.group is node.context.placement_group
    assert [(len(group.bundles), group.removed) for group in fakes.cluster.groups] == [(1, True), (4, True)]
    assert fakes.left_behind() == []
    warnings = [record.getMessage() for record in caplog.records if "placement_group_replaced" in record.getMessage()]
    assert len(warnings) == 1
    assert "PreInitialization" in warnings[0]


async def test_a_supplied_group_with_too_few_bundles_is_refused(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    group = FakeGroup([{"CPU": 1.0, "GPU": 1.0}])

    @bus.on(PrePlacementGroup)
    def supply(event: PrePlacementGroup) -> None:
        event.context.placement_group = group
        event.context.extra_init_kwargs["tensor_parallel_size"] = 2

    error = await start_and_fail(config, bus, fakes)
    assert isinstance(error, GroupTooSmallError)
    assert (error.bundles, error.workers) == (1, 2)
    assert not group.removed


async def test_a_failing_undo_is_attached_and_stops_no_other(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    class Broken(type(fakes.cluster)):  # type: ignore[misc]
        async def remove_group(self, group: object) -> None:
            await super().remove_group(group)
            raise PlacementError("Ray did not answer")

    fakes.cluster, fakes.engine.fails_with = Broken(), EngineError("no")
    error = await start_and_fail(config, bus, fakes)
    assert error is fakes.engine.fails_with
    assert [str(other) for other in error.also] == ["Ray did not answer"]
    assert not fakes.cluster.running, "the undo after the failing one has run"


async def test_a_handler_that_fails_on_the_way_out_stops_nothing(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig, fail_on: Callable[[type[Event]], None]
) -> None:
    fail_on(PreShutdown)
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        pass
    assert names[-2:] == ["PreShutdown", "PostShutdown"]
    assert fakes.left_behind() == []


async def test_start_twice_is_an_error_and_aclose_twice_is_none(fakes: Fakes, config: LLMConfig) -> None:
    initializer = NodeInitializer(config, backends=fakes.backends())
    await initializer.start()
    with pytest.raises(LifecycleError, match="another NodeInitializer"):
        await initializer.start()
    await initializer.aclose()
    await initializer.aclose()
    assert fakes.left_behind() == []


async def test_a_process_that_vllm_started_starts_no_node_of_its_own(
    fakes: Fakes, config: LLMConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While such a process imports the main module, multiprocessing marks it so."""
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(LifecycleError, match="if __name__ == '__main__':"):
        await NodeInitializer(config, backends=fakes.backends()).start()


async def test_a_closed_node_has_no_engine(fakes: Fakes, config: LLMConfig) -> None:
    async with initialize_node(config, backends=fakes.backends()) as node:
        pass
    with pytest.raises(LifecycleError, match="has been closed"):
        _ = node.engine


async def test_an_engine_that_dies_is_an_event_and_an_error_to_its_users(
    bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    died: Awaited[str] = Awaited()
    bus.on(EngineDied, lambda event: died.set(event.reason))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        fakes.engine.engines[0].die("killed by signal 9")
        assert await died.get() == "killed by signal 9"
        assert not node.is_running
        with pytest.raises(EngineDiedError, match="killed by signal 9"):
            _ = node.engine
    assert fakes.left_behind() == []


async def test_two_nodes_start_at_once_on_one_bus_without_mixing(bus: EventBus) -> None:
    """A callback class hears of its own node only; a handler of the bus hears of both."""
    heard: list[str] = []

    class Callback:
        def __init__(self, model: str) -> None:
            self.model = model

        def on_pre_engine_init(self, ctx: NodeInitializationContext) -> None:
            heard.append(f"{self.model} hears {ctx.llm_config.model_id}")

    both: list[str] = []
    bus.on(PreEngineInit, lambda event: both.append(event.context.llm_config.model_id))
    one, other = (LLMConfig(model_id=name, callback_class=Callback, callback_kwargs={"model": name}) for name in "ab")
    async with (
        initialize_node(one, bus=bus, backends=Fakes().backends()),
        initialize_node(other, bus=bus, backends=Fakes().backends()),
    ):
        assert sorted(both) == ["a", "b"]
    assert heard == ["a hears a", "b hears b"]


async def test_errors_survive_pickling() -> None:
    """They come back from Ray's processes that way."""

    error = DownloadError("s3://x/y", "gone").attach([ValueError("beside")])
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.source, str(copy.also[0])) == (DownloadError, str(error), "s3://x/y", "beside")
