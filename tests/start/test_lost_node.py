"""A node of the group that goes away while the engine starts there, under trio's virtual clock."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.errors import EngineArgumentError, EngineError, EventInitError, NodeLostError, PlacementError
from eventinit.events import PreEngineInit
from eventinit.testing import Fakes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual"]),
]

FOR_EVER_S = 1e6


@pytest.fixture
def fakes() -> Fakes:
    """Two nodes, with a bundle of the group on each, and an engine that takes for ever."""
    fakes = Fakes()
    fakes.cluster.resources, fakes.cluster.group_nodes = [{"CPU": 8.0}, {"CPU": 8.0}], ["node-0", "node-1"]
    fakes.engine.seconds = FOR_EVER_S
    return fakes


@pytest.fixture
def config() -> LLMConfig:
    return LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 2})


async def fail(fakes: Fakes, config: LLMConfig, mishap: Callable[[], object], *, after_s: float) -> EventInitError:
    """Return the error of a start on which a mishap comes so many seconds after its engine begins to start."""
    bus = EventBus()

    async def strike() -> None:
        await trio.sleep(after_s)
        mishap()

    async with trio.open_nursery() as nursery:
        bus.on(PreEngineInit, lambda _event: nursery.start_soon(strike))
        with pytest.raises(EventInitError) as failure:
            async with initialize_node(config, bus=bus, backends=fakes.backends()):
                pytest.fail("the start was to fail")
        nursery.cancel_scope.cancel()
    assert fakes.left_behind() == []
    return failure.value


async def test_the_start_ends_within_seconds_though_the_engine_would_wait_for_ever(
    fakes: Fakes, config: LLMConfig
) -> None:
    lost_at: list[float] = []

    def lose() -> None:
        fakes.cluster.resources.pop()
        lost_at.append(trio.current_time())

    error = await fail(fakes, config, lose, after_s=100)
    assert trio.current_time() - lost_at[0] < 5
    assert isinstance(error, NodeLostError)
    assert error.lost == {1: "node-1"}
    assert "node-1" in str(error)


async def test_an_engine_that_fails_before_the_loss_is_noticed_is_its_cause(fakes: Fakes, config: LLMConfig) -> None:
    """The engine's own error says nothing of the node, whose loss the cluster notices only later."""
    fakes.engine.seconds, fakes.engine.fails_with = 100, EngineError("look at the log")
    error = await fail(fakes, config, fakes.cluster.resources.pop, after_s=115)
    assert isinstance(error, NodeLostError)
    assert error.__cause__ is fakes.engine.fails_with


async def test_an_engine_that_fails_while_all_nodes_are_there_is_no_lost_node(fakes: Fakes, config: LLMConfig) -> None:
    fakes.engine.seconds, fakes.engine.fails_with = 100, EngineError("look at the log")
    assert await fail(fakes, config, lambda: None, after_s=50) is fakes.engine.fails_with


@pytest.mark.parametrize(
    ("node", "refusal"),
    [("node-1", EngineArgumentError("no such value")), ("node-0", EngineError("look at the log"))],
    ids=["its arguments", "on this node"],
)
async def test_a_failure_that_no_lost_node_explains_is_told_at_once(
    node: str, refusal: EngineError, fakes: Fakes, config: LLMConfig
) -> None:
    """A GPU makes the workers run in the bundles also where all are on this node."""
    fakes.cluster.resources, fakes.cluster.group_nodes = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], [node]
    fakes.engine.seconds, fakes.engine.fails_with = 0, refusal
    began: list[float] = []
    assert await fail(fakes, config, lambda: began.append(trio.current_time()), after_s=0) is refusal
    assert trio.current_time() - began[0] < 1


async def test_a_group_that_ray_moves_to_another_node_has_lost_the_one_it_had(fakes: Fakes, config: LLMConfig) -> None:
    """The workers that the engine has put into the bundle are gone with the node."""

    def move() -> None:
        fakes.cluster.groups[0].node_ids[1] = "node-0"

    error = await fail(fakes, config, move, after_s=100)
    assert isinstance(error, NodeLostError)
    assert error.lost == {1: "node-1"}


async def test_a_group_that_somebody_removes_ends_the_start_too(fakes: Fakes, config: LLMConfig) -> None:
    def remove() -> None:
        fakes.cluster.groups[0].removed = True

    error = await fail(fakes, config, remove, after_s=100)
    assert isinstance(error, PlacementError)


async def test_a_node_that_is_lost_after_the_start_ends_nothing(fakes: Fakes, config: LLMConfig) -> None:
    """Then it is the engine that tells whether it can go on."""
    fakes.engine.seconds = 10
    async with initialize_node(config, backends=fakes.backends()) as node:
        fakes.cluster.resources.pop()
        await trio.sleep(100)
        assert node.is_running
