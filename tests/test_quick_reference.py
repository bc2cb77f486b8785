"""The five patterns of the quick reference and its first example, typed as a user types them there."""

import time
from typing import Any

import pytest

from eventinit import LLMConfig, Node, initialize_node
from eventinit.testing import FakeGroup, Fakes

pytestmark = pytest.mark.anyio

MY_PG = FakeGroup([{"CPU": 1.0}] * 4)
TIMES: list[float] = []


class MyCallback:
    def on_pre_download(self, ctx: Any) -> None:
        ctx.worker_node_download_model = "MODEL_AND_TOKENIZER"

    def on_pre_engine_init(self, ctx: Any) -> None:
        ctx.extra_init_kwargs["gpu_memory_utilization"] = 0.95


class ChangeDownload:
    def on_pre_download(self, ctx: Any) -> None:
        ctx.local_node_download_model = "TOKENIZER_ONLY"
        ctx.worker_node_download_model = "NONE"


class Metrics:
    def __init__(self) -> None:
        self.start: float | None = None

    def on_pre_initialization(self, ctx: Any) -> None:
        self.start = time.time()

    def on_post_initialization(self, ctx: Any) -> None:
        assert self.start is not None
        TIMES.append(time.time() - self.start)


class CustomPG:
    def on_pre_placement_group(self, ctx: Any) -> bool:
        ctx.placement_group = MY_PG
        return False


class GPUOpts:
    def on_pre_engine_init(self, ctx: Any) -> None:
        ctx.extra_init_kwargs.update({"gpu_memory_utilization": 0.95, "tensor_parallel_size": 4})


class FullCustom:
    def on_pre_initialization(self, ctx: Any) -> bool:
        ctx.placement_group = MY_PG
        ctx.runtime_env = {"env_vars": {"A": "1"}}
        ctx.extra_init_kwargs = {"max_model_len": 8}
        return False


class WithParam:
    def __init__(self, param: str) -> None:
        self.param = param

    def on_pre_initialization(self, ctx: Any) -> None:
        ctx.custom_data["param"] = self.param


async def started(cls: type[Any], **callback_kwargs: Any) -> tuple[Fakes, Node]:
    """Start a node with a callback on fakes and stop it; return the fakes and the node."""
    fakes = Fakes()
    config = LLMConfig(model_id="llama-2-7b", callback_class=cls, callback_kwargs=callback_kwargs)
    async with initialize_node(config, backends=fakes.backends()) as node:
        assert node.is_running
    assert fakes.left_behind() == []
    return fakes, node


async def test_the_first_example() -> None:
    fakes, node = await started(MyCallback)
    assert fakes.engine.engines[0].request.arguments["gpu_memory_utilization"] == 0.95
    assert node.context.worker_node_download_model == "MODEL_AND_TOKENIZER"


async def test_pattern_1_modify_one_thing() -> None:
    fakes, _ = await started(ChangeDownload)
    assert fakes.source.fetched == ["TOKENIZER_ONLY"]


async def test_pattern_2_track_metrics() -> None:
    TIMES.clear()
    await started(Metrics)
    assert len(TIMES) == 1
    assert TIMES[0] >= 0


async def test_pattern_3_custom_placement_group() -> None:
    fakes, node = await started(CustomPG)
    assert fakes.cluster.groups == []
    assert fakes.engine.engines[0].request.group is MY_PG
    assert node.context.placement_group is MY_PG
    assert not MY_PG.removed


async def test_pattern_4_add_engine_parameters() -> None:
    fakes, _ = await started(GPUOpts)
    request = fakes.engine.engines[0].request
    assert request.arguments["gpu_memory_utilization"] == 0.95
    assert request.arguments["tensor_parallel_size"] == 4
    assert isinstance(request.group, FakeGroup)
    assert len(request.group.bundles) == 4


async def test_pattern_5_replace_everything() -> None:
    fakes, node = await started(FullCustom)
    request = fakes.engine.engines[0].request
    assert fakes.source.fetched == []
    assert fakes.cluster.groups == []
    assert request.group is MY_PG
    assert request.runtime_env == {"env_vars": {"A": "1"}}
    assert request.arguments["max_model_len"] == 8
    assert request.arguments["model"] == "llama-2-7b"
    assert node.context.download_result is None
    assert not MY_PG.removed


async def test_callback_kwargs_reach_the_callback() -> None:
    _, node = await started(WithParam, param="value")
    assert node.context.custom_data == {"param": "value"}


async def test_state_persists_across_hooks_and_starts() -> None:
    """There is one instance per process: a counter in it counts the starts."""

    class Counter:
        def __init__(self) -> None:
            self.starts = 0

        def on_pre_initialization(self, ctx: Any) -> None:
            self.starts += 1

        def on_post_initialization(self, ctx: Any) -> None:
            ctx.custom_data["starts"] = self.starts

    nodes = [(await started(Counter))[1] for _ in range(3)]
    assert [node.context.custom_data["starts"] for node in nodes] == [1, 2, 3]
