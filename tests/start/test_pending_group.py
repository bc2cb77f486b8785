"""What a start tells while its placement group is not ready, under trio's virtual clock."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from eventinit import EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.errors import EventInitError, GroupTooSmallError, HandlerError, InfeasibleGroupError, PhaseTimeoutError
from eventinit.events import PlacementPending, PostPlacementGroup, PreEngineInit, PreInitialization, PrePlacementGroup
from eventinit.testing import FakeGroup, Fakes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual"]),
]

GPU_NODE = {"CPU": 8.0, "GPU": 2.0}
BUSY = {"CPU": 8.0}


@pytest.fixture
def fakes() -> Fakes:
    """Two nodes with two GPUs each, of which two are free on the first."""
    fakes = Fakes()
    fakes.cluster.resources = [dict(GPU_NODE), dict(GPU_NODE)]
    fakes.cluster.free = [dict(GPU_NODE), dict(BUSY)]
    return fakes


@pytest.fixture
def told(bus: EventBus) -> list[tuple[float, PlacementPending]]:
    """What was told of a pending group, with the time."""
    seen: list[tuple[float, PlacementPending]] = []
    bus.on(PlacementPending, lambda event: seen.append((trio.current_time(), event)))
    return seen


def reserving(**wanted: Any) -> LLMConfig:
    return LLMConfig(model_id="tiny", placement_group_config=PlacementGroupConfig(**wanted))


def four_workers(**settings: Any) -> LLMConfig:
    return LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 4}, **settings)


async def fail(fakes: Fakes, bus: EventBus, config: LLMConfig) -> EventInitError:
    with pytest.raises(EventInitError) as failure:
        async with initialize_node(config, bus=bus, backends=fakes.backends()):
            pytest.fail("the start was to fail")
    assert fakes.left_behind() == []
    return failure.value


async def test_the_wait_is_explained_after_a_second_and_then_every_two(
    fakes: Fakes, bus: EventBus, told: list[tuple[float, PlacementPending]]
) -> None:
    fakes.cluster.ready_after_s = 6.0
    began = trio.current_time()
    async with initialize_node(four_workers(), bus=bus, backends=fakes.backends()):
        assert [round(at - began, 3) for at, _ in told] == [1.0, 3.0, 5.0]
    event = told[0][1]
    assert event.explanation == (
        "2 of 4 bundle(s) wait for GPU: 1 each; the cluster has GPU: 2 free on node node-0; no autoscaler runs"
    )
    assert (event.bundles, len(event.waiting), event.free) == (4, 2, {"node-0": {"GPU": 2.0}})


async def test_a_group_that_is_ready_within_a_second_is_not_talked_about(
    fakes: Fakes, bus: EventBus, told: list[tuple[float, PlacementPending]]
) -> None:
    fakes.cluster.ready_after_s = 0.9
    async with initialize_node(four_workers(), bus=bus, backends=fakes.backends()):
        assert told == []


async def test_the_explanation_follows_what_becomes_free_and_what_is_started(
    fakes: Fakes, bus: EventBus, told: list[tuple[float, PlacementPending]]
) -> None:
    fakes.cluster.ready_after_s, fakes.cluster.autoscales = 8.0, True

    @bus.on(PlacementPending)
    def go_on(event: PlacementPending) -> None:
        assert fakes.cluster.free is not None
        if not fakes.cluster.starting:
            fakes.cluster.free[0], fakes.cluster.starting = dict(BUSY), {"gpu-node": 2}
        else:
            fakes.cluster.free[:], fakes.cluster.starting = [dict(GPU_NODE), dict(GPU_NODE)], {}

    async with initialize_node(four_workers(), bus=bus, backends=fakes.backends()):
        assert [event.explanation for _, event in told[:3]] == [
            "2 of 4 bundle(s) wait for GPU: 1 each; the cluster has GPU: 2 free on node node-0;"
            " the autoscaler is starting no nodes",
            "4 of 4 bundle(s) wait for GPU: 1 each; no node has any GPU free;"
            " the autoscaler is starting 2 node(s) (gpu-node)",
            "what is free has room for the 4 bundle(s), which Ray has yet to place;"
            " the autoscaler is starting no nodes",
        ]
        assert told[1][1].starting == {"gpu-node": 2}


async def test_the_last_explanation_is_in_the_error_when_time_is_up(fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.ready_after_s = None
    error = await fail(fakes, bus, four_workers(placement_timeout_s=30.0))
    assert isinstance(error, PhaseTimeoutError)
    assert "last known: 2 of 4 bundle(s) wait for GPU: 1 each" in str(error)


async def test_a_node_that_goes_away_makes_a_pending_group_fail_with_the_reason(fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.ready_after_s = None
    began = trio.current_time()

    @bus.on(PlacementPending)
    def lose(event: PlacementPending) -> None:
        assert fakes.cluster.free is not None
        del fakes.cluster.resources[1:], fakes.cluster.free[1:]

    error = await fail(fakes, bus, four_workers())
    assert isinstance(error, InfeasibleGroupError)
    assert "4 bundles ask for CPU: 1, GPU: 1 each and the nodes have room for 2" in str(error)
    assert trio.current_time() - began < 5


NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "pieces of nodes": (
        {"bundles": [{"GPU": 1.5}] * 3},
        "3 bundles ask for GPU: 1.5 each and the nodes have room for 2",
    ),
    "one node": (
        {"bundles": [{"GPU": 1}] * 3, "strategy": "STRICT_PACK"},
        "no node has GPU: 3 (the largest has GPU: 2)",
    ),
    "many nodes": ({"bundles": [{"GPU": 1}] * 3, "strategy": "STRICT_SPREAD"}, "needs 3 nodes and the cluster has 2"),
    "custom resource": ({"bundle_per_worker": {"rack": 1}}, "no node has rack: 1 (the largest has rack: 0)"),
    "accelerator type": ({"accelerator_type": "a100"}, "the accelerator types there are: A10G"),
}


@pytest.mark.parametrize("case", NEVER)
async def test_what_can_never_fit_without_an_autoscaler_fails_at_once(case: str, fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.resources[0]["accelerator_type:A10G"] = 1.0
    wanted, problem = NEVER[case]
    began = trio.current_time()
    error = await fail(fakes, bus, four_workers(placement_group_config=wanted))
    assert isinstance(error, InfeasibleGroupError)
    assert problem in str(error)
    assert trio.current_time() == began


async def test_a_cluster_that_grows_is_waited_for_unless_its_autoscaler_refuses(fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.resources, fakes.cluster.free = [{"CPU": 8.0}], None
    fakes.cluster.autoscales, fakes.cluster.ready_after_s = True, None
    config = four_workers(placement_group_config={"accelerator_type": "A10G"}, placement_timeout_s=60.0)
    assert isinstance(await fail(fakes, bus, config), PhaseTimeoutError)
    fakes.cluster.refuses = True
    error = await fail(fakes, EventBus(), config)
    assert isinstance(error, InfeasibleGroupError)
    assert "the autoscaler has no nodes to add that help" in str(error)


async def test_bundles_of_an_accelerator_type_ask_for_a_little_of_it(fakes: Fakes) -> None:
    fakes.cluster.resources[0]["accelerator_type:A10G"] = 1.0
    bundles = [{"CPU": 1}, {"GPU": 1}, {"GPU": 1}]
    config = reserving(bundles=bundles, accelerator_type="A10G")
    async with initialize_node(config, backends=fakes.backends()):
        [group] = fakes.cluster.groups
        assert group.bundles == [{"CPU": 1}, *[{"GPU": 1, "accelerator_type:A10G": 0.001}] * 2]


async def test_a_handler_that_fails_on_a_pending_group_fails_the_start(fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.ready_after_s = None

    @bus.on(PlacementPending)
    def enough(event: PlacementPending) -> None:
        raise RuntimeError("enough")

    assert isinstance(await fail(fakes, bus, four_workers()), HandlerError)


async def test_a_thousand_nodes_are_not_all_named(
    fakes: Fakes, bus: EventBus, told: list[tuple[float, PlacementPending]]
) -> None:
    fakes.cluster.resources = [dict(GPU_NODE) for _ in range(1000)]
    fakes.cluster.free = [{"CPU": 8.0, "GPU": 1.0} for _ in range(1000)]
    fakes.cluster.ready_after_s = 1.5
    config = reserving(bundles=[{"GPU": 2}])
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        [(_, event)] = told
    assert event.explanation.count("free on node") == 3
    assert "and some on 997 more node(s)" in event.explanation
    assert len(event.model_dump_json()) < 1000


SURROUNDING = [{"CPU": 1.0}, {"GPU": 1.0}, {"GPU": 1.0}]


async def test_the_group_that_the_process_runs_in_is_used_and_stays(fakes: Fakes, bus: EventBus) -> None:
    """As in a replica of Ray Serve, whose own bundle is the first."""
    group = fakes.cluster.surrounding = FakeGroup(SURROUNDING)
    outcomes: list[str] = []
    bus.on(PostPlacementGroup, lambda event: outcomes.append(event.outcome.status))
    config = LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 2})
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.engine.request.group is group
    assert outcomes == ["supplied"]
    assert fakes.cluster.groups == []
    assert not group.removed


async def test_a_handlers_own_group_wins_over_the_surrounding_one(fakes: Fakes, bus: EventBus) -> None:
    fakes.cluster.surrounding, own = FakeGroup(SURROUNDING), FakeGroup(SURROUNDING)
    bus.on(PrePlacementGroup, lambda event: setattr(event.context, "placement_group", own))
    async with initialize_node(LLMConfig(model_id="tiny"), bus=bus, backends=fakes.backends()) as node:
        assert node.context.placement_group is own


@pytest.mark.parametrize("workers", [2, 3])
async def test_a_bundle_without_an_accelerator_holds_no_worker_where_others_have_one(
    workers: int, fakes: Fakes, bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said before the download is through, and is an error once ``PreEngineInit`` has not lowered the workers."""
    fakes.cluster.surrounding, fakes.source.seconds = FakeGroup(SURROUNDING), 600.0
    warned: list[bool] = []

    @bus.on(PostPlacementGroup)
    def note(event: PostPlacementGroup) -> None:
        assert event.context.download_result is None
        warned.append("placement_group_too_small" in caplog.text)

    @bus.on(PreEngineInit)
    def settle(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["tensor_parallel_size"] = workers

    with caplog.at_level(logging.WARNING):
        if workers == 2:
            async with initialize_node(four_workers(), bus=bus, backends=fakes.backends()) as node:
                assert node.is_running
        else:
            error = await fail(fakes, bus, four_workers())
            assert isinstance(error, GroupTooSmallError)
            assert (error.bundles, error.workers) == (2, 3)
    assert warned == [True]


@pytest.mark.parametrize("moment", [PreInitialization, PrePlacementGroup])
async def test_a_supplied_group_that_waits_is_explained_too(
    moment: type[PreInitialization | PrePlacementGroup],
    fakes: Fakes,
    bus: EventBus,
    told: list[tuple[float, PlacementPending]],
) -> None:
    group = FakeGroup([{"GPU": 1.0}, {"GPU": 2.0}], ["node-1", None])
    fakes.cluster.free, fakes.cluster.ready_after_s = [{"CPU": 8.0, "GPU": 1.0}, dict(BUSY)], 2.0

    @bus.on(moment)
    def supply(event: Any) -> bool:
        event.context.placement_group = group
        return False

    async with initialize_node(LLMConfig(model_id="tiny"), bus=bus, backends=fakes.backends()):
        pass
    [(_, event)] = told
    assert event.explanation.startswith("1 of 2 bundle(s) wait for GPU: 2 each; the cluster has GPU: 1 free on node")
    assert not group.removed


MIXED: dict[str, tuple[list[dict[str, float]], str]] = {
    "two kinds": ([{"GPU": 3}, {"CPU": 9}, {"CPU": 9}], "3 of 3 bundle(s) wait: 2 for CPU: 9, 1 for GPU: 3"),
    "a combination": ([{"GPU": 2, "CPU": 9}], "1 of 1 bundle(s) wait for CPU: 9 each"),
}


@pytest.mark.parametrize("case", MIXED)
async def test_bundles_that_differ_are_told_apart(
    case: str, fakes: Fakes, bus: EventBus, told: list[tuple[float, PlacementPending]]
) -> None:
    bundles, explanation = MIXED[case]
    fakes.cluster.autoscales, fakes.cluster.ready_after_s = True, 1.5
    config = reserving(bundles=bundles)
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        [(_, event)] = told
    assert event.explanation.startswith(explanation)
