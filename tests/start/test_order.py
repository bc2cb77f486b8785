"""The order of a start, and what runs at the same time."""

from itertools import pairwise
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.events import (
    HOOKS,
    DownloadProgress,
    PostDownload,
    PostEngineInit,
    PreDownload,
    PreEngineInit,
    PrePlacementGroup,
)
from eventinit.testing import Fakes

pytestmark = pytest.mark.anyio


async def test_events_fire_in_the_documented_order(
    bus: EventBus, names: list[str], fakes: Fakes, config: LLMConfig
) -> None:
    fakes.source.seconds = 0.02
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        ready = list(names)
    assert ready[0] == "PreInitialization"
    assert set(ready[1:5]) == {"PreDownload", "PrePlacementGroup", "PostPlacementGroup", "PostDownload"}
    assert ready.index("PreDownload") < ready.index("PostDownload")
    assert ready.index("PrePlacementGroup") < ready.index("PostPlacementGroup")
    assert ready[5:] == ["PreEngineInit", "PostEngineInit", "PostInitialization"]
    assert names[len(ready) :] == ["PreShutdown", "PostShutdown"]


@pytest.mark.parametrize("slow", ["source", "cluster"])
async def test_download_and_reservation_run_at_the_same_time(
    slow: str, bus: EventBus, fakes: Fakes, config: LLMConfig
) -> None:
    """Each branch begins before the other has ended, whichever is the slower one."""
    fakes.source.seconds, fakes.cluster.ready_after_s = (0.2, 0.05) if slow == "source" else (0.05, 0.2)
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        assert node.timeline.overlap_s("fetch", "placement_group") > 0.03


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual clock"])
async def test_a_whole_start_runs_under_a_virtual_clock(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    """Nothing of the start needs asyncio or real time: an hour passes in the twinkling of an eye."""
    fakes.source.seconds, fakes.cluster.ready_after_s, fakes.engine.seconds = 3600.0, 590.0, 1700.0
    began = anyio.current_time()
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        took = anyio.current_time() - began
    assert took == pytest.approx(3600.0 + 1700.0, abs=1.0)
    assert fakes.left_behind() == []


SEEN_BY: dict[str, dict[str, bool]] = {
    "on_pre_initialization": {"download": False, "group": False},
    "on_pre_download": {"download": False},
    "on_pre_node_download": {"download": False},
    "on_post_node_download": {"download": False},
    "on_post_download": {"download": True},
    "on_pre_placement_group": {"group": False},
    "on_post_placement_group": {"group": True},
    "on_pre_engine_init": {"download": True, "group": True},
    "on_post_engine_init": {"download": True, "group": True},
    "on_post_initialization": {"download": True, "group": True},
}
"""What each hook can rely on: whether there is a download result and a placement group. Across branches it cannot."""


def recording_callback(*, is_async: bool) -> type[Any]:
    """A class with all ten hooks that note their name and what the context holds."""

    def hook_named(name: str) -> Any:
        def note(self: Any, ctx: Any) -> None:
            here = {"download": ctx.download_result is not None, "group": ctx.placement_group is not None}
            self.seen.append((name, here))

        async def note_async(self: Any, ctx: Any) -> None:
            await anyio.lowlevel.checkpoint()
            note(self, ctx)

        return note_async if is_async else note

    def begin(self: Any) -> None:
        self.seen = []
        recording_callback.made.append(self)  # type: ignore[attr-defined]

    return type("Recorder", (), {"__init__": begin, **{name: hook_named(name) for name in HOOKS}})


recording_callback.made = []  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync hooks", "async hooks"])
async def test_the_ten_hooks_run_in_order_and_see_what_is_there(*, is_async: bool, fakes: Fakes) -> None:
    config = LLMConfig(model_id="tiny", callback_class=recording_callback(is_async=is_async))
    async with initialize_node(config, backends=fakes.backends()):
        seen: list[tuple[str, dict[str, bool]]] = recording_callback.made[-1].seen  # type: ignore[attr-defined]
    order = [name for name, _ in seen]
    assert sorted(order) == sorted(SEEN_BY)
    assert order[0] == "on_pre_initialization"
    download = [name for name in order if name.endswith("_download")]
    assert download == ["on_pre_download", "on_pre_node_download", "on_post_node_download", "on_post_download"]
    assert order.index("on_pre_placement_group") < order.index("on_post_placement_group")
    assert order[7:] == ["on_pre_engine_init", "on_post_engine_init", "on_post_initialization"]
    for name, here in seen:
        assert {key: here[key] for key in SEEN_BY[name]} == SEEN_BY[name], name


async def test_handlers_change_what_the_engine_is_started_with(bus: EventBus, fakes: Fakes) -> None:
    @bus.on(PreEngineInit)
    async def tune(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["max_model_len"] = 64

    config = LLMConfig(model_id="tiny", engine_kwargs={"max_model_len": 128, "dtype": "float16"})
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        arguments = node.engine.request.arguments
    expected = {"served_model_name": "tiny", "max_model_len": 64, "dtype": "float16"}
    assert {name: arguments[name] for name in expected} == expected
    assert arguments["model"] == str(node.context.download_result.path)  # type: ignore[union-attr]


async def test_progress_is_told_between_pre_and_post_download(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    fakes.source.seconds, fakes.source.files = 0.6, 60
    told: list[DownloadProgress | PreDownload | PostDownload] = []
    for kind in (DownloadProgress, PreDownload, PostDownload):
        bus.on(kind, told.append)
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        pass
    assert isinstance(told[0], PreDownload)
    assert isinstance(told[-1], PostDownload)
    progress = [event for event in told if isinstance(event, DownloadProgress)]
    assert [event.bytes_done for event in progress] == sorted(event.bytes_done for event in progress)
    assert progress[-1].bytes_done == progress[-1].bytes_total == 60 * fakes.source.file_bytes
    *steady, _last = progress
    gaps_s = [later.at - earlier.at for earlier, later in pairwise(steady)]
    assert min(gaps_s) > 0.08, "at most ten a second, but for the last, which comes when the download ends"


async def test_other_nodes_fetch_once_the_group_names_them(bus: EventBus, fakes: Fakes, config: LLMConfig) -> None:
    fakes.cluster.resources = [{"CPU": 8.0}] * 3
    fakes.cluster.group_nodes = ["node-0", "node-2"]
    modes: list[str] = []

    @bus.on(PrePlacementGroup)
    def two_workers(event: PrePlacementGroup) -> None:
        event.context.extra_init_kwargs["tensor_parallel_size"] = 2
        event.context.worker_node_download_model = "EXCLUDE_SAFETENSORS"

    bus.on(PostEngineInit, lambda event: modes.append(event.context.worker_node_download_model))
    async with initialize_node(config, bus=bus, backends=fakes.backends()) as node:
        request = node.engine.request
    assert fakes.cluster.fetched_on == [("node-2", "EXCLUDE_SAFETENSORS")]
    assert fakes.source.fetched[0] == "MODEL_AND_TOKENIZER"
    assert request.on_cluster, "a group that is not wholly on this node needs workers on the cluster"


async def test_a_node_of_the_group_takes_the_union_of_both_modes(fakes: Fakes) -> None:
    config = LLMConfig(
        model_id="tiny",
        local_node_download_model="TOKENIZER_ONLY",
        worker_node_download_model="MODEL_AND_TOKENIZER",
    )
    async with initialize_node(config, backends=fakes.backends()) as node:
        assert node.context.download_result is not None
        assert node.context.download_result.mode == "MODEL_AND_TOKENIZER"
    assert fakes.source.fetched == ["TOKENIZER_ONLY", "MODEL_AND_TOKENIZER"]


async def test_without_a_download_the_engine_gets_the_model_source(fakes: Fakes) -> None:
    config = LLMConfig(
        model_id="tiny",
        model_source="org/name",
        local_node_download_model="NONE",
        worker_node_download_model="NONE",
    )
    async with initialize_node(config, backends=fakes.backends()) as node:
        assert node.engine.request.arguments["model"] == "org/name"
    assert fakes.source.fetched == []


@pytest.mark.parametrize(
    ("resources", "on_cluster"), [({"CPU": 8.0}, False), ({"CPU": 8.0, "GPU": 2.0}, True)], ids=["CPU", "GPU"]
)
async def test_bundles_default_to_one_per_worker_with_a_gpu_where_there_are_some(
    resources: dict[str, float], on_cluster: bool, fakes: Fakes
) -> None:
    fakes.cluster.resources = [resources]
    config = LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 2})
    async with initialize_node(config, backends=fakes.backends()) as node:
        assert node.engine.request.on_cluster is on_cluster
    each = dict.fromkeys(resources, 1.0)
    assert fakes.cluster.groups[0].bundles == [each, each]
