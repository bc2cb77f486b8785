"""How many workers an engine has, by the bundles that are reserved for it."""

from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.errors import EngineArgumentError
from eventinit.events import PrePlacementGroup
from eventinit.testing import Fakes

pytestmark = pytest.mark.anyio


def config(**engine_kwargs: Any) -> LLMConfig:
    return LLMConfig(model_id="tiny", engine_kwargs=engine_kwargs)


@pytest.mark.parametrize(
    ("sizes", "workers"),
    [
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 3}, 6),
        ({"tensor_parallel_size": 2, "prefill_context_parallel_size": 2}, 4),
        ({"tensor_parallel_size": 2, "data_parallel_size": 3}, 6),
        ({"tensor_parallel_size": 2, "data_parallel_size": 8, "data_parallel_size_local": 2}, 4),
        ({"tensor_parallel_size": 2, "data_parallel_size": 8, "data_parallel_rank": 0}, 2),
        ({"tensor_parallel_size": 2, "data_parallel_size": 8, "data_parallel_external_lb": True}, 2),
    ],
    ids=[
        "replicas have stages",
        "contexts are shared out",
        "all replicas are here",
        "two of them are here",
        "a rank among engines",
        "an outside balancer",
    ],
)
async def test_each_worker_that_this_engine_runs_has_a_bundle(
    sizes: dict[str, Any], workers: int, fakes: Fakes
) -> None:
    async with initialize_node(config(**sizes), backends=fakes.backends()):
        assert [len(group.bundles) for group in fakes.cluster.groups] == [workers]


@pytest.mark.parametrize(
    ("arguments", "resources", "words"),
    [
        ({"data_parallel_size": 2}, {"CPU": 8.0, "GPU": 2.0}, "start a node for each replica"),
        ({"data_parallel_size": 2, "distributed_executor_backend": "ray"}, {"CPU": 8.0}, "cannot run 2"),
        ({"data_parallel_size": 2, "data_parallel_backend": "ray"}, {"CPU": 8.0}, "veto PrePlacementGroup"),
        ({"data_parallel_size": 0}, {"CPU": 8.0}, "data_parallel_size is 0"),
    ],
    ids=["GPUs", "ray executor", "ray back end", "none"],
)
async def test_replicas_that_vllm_cannot_put_into_one_group_are_refused(
    arguments: dict[str, Any], resources: dict[str, float], words: str, fakes: Fakes
) -> None:
    """In the first three cases vLLM would wait for ever."""
    fakes.cluster.resources = [resources]
    with pytest.raises(EngineArgumentError, match=words):
        async with initialize_node(config(**arguments), backends=fakes.backends()):
            pytest.fail("the start was to fail")
    assert fakes.left_behind() == []
    assert fakes.engine.engines == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"data_parallel_size": 2, "distributed_executor_backend": "mp"},
        {"data_parallel_size": 8, "data_parallel_rank": 3},
    ],
    ids=["mp executor", "one rank"],
)
async def test_replicas_that_vllm_can_run_start_on_devices(arguments: dict[str, Any], fakes: Fakes) -> None:
    fakes.cluster.resources = [{"CPU": 8.0, "GPU": 2.0}]
    async with initialize_node(config(**arguments), backends=fakes.backends()) as node:
        assert node.engine.running


async def test_without_a_group_vllm_may_reserve_its_own(fakes: Fakes) -> None:
    bus = EventBus()
    bus.on(PrePlacementGroup, lambda _event: False)
    arguments = {"data_parallel_size": 2, "data_parallel_backend": "ray"}
    async with initialize_node(config(**arguments), bus=bus, backends=fakes.backends()) as node:
        assert node.engine.request.group is None
