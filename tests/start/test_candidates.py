"""What nodes do for a start before it is known whether the placement group takes them."""

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from eventinit import EventBus, LLMConfig, Veto, initialize_node
from eventinit.errors import NodeFetchError, PhaseTimeoutError, StoreUnavailableError
from eventinit.events import DownloadProgress, PostPlacementGroup, PreDownload, PreInitialization
from eventinit.testing import Fakes, FakeSource

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual clock"]
    ),
]


@pytest.fixture
def fakes() -> Fakes:
    """A group of two GPUs that waits 50 seconds and comes to be on this node and one of three that have room."""
    fakes = Fakes()
    gpu = {"CPU": 1.0, "GPU": 1.0}
    fakes.cluster.resources = [gpu, gpu, gpu, {"CPU": 8.0}, gpu]
    fakes.cluster.group_nodes = ["node-0", "node-2"]
    fakes.cluster.ready_after_s = 50.0
    return fakes


def config(prefetch: str = "none", **fields: Any) -> LLMConfig:
    download: Any = {"prefetch": prefetch}
    return LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 2}, download=download, **fields)


async def seconds_of_start(fakes: Fakes, config: LLMConfig, bus: EventBus | None = None) -> float:
    began = anyio.current_time()
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        return anyio.current_time() - began


async def test_workers_of_nodes_with_room_are_warmed_while_the_group_is_pending(fakes: Fakes) -> None:
    fakes.cluster.worker_start_s, fakes.cluster.source.seconds = 20.0, 10.0
    assert await seconds_of_start(fakes, config()) == pytest.approx(50 + 10, abs=1)
    assert fakes.cluster.warmed == {"node-1", "node-2", "node-4"}
    assert fakes.cluster.fetched_on == [("node-2", "MODEL_AND_TOKENIZER")]


async def test_a_node_that_is_not_needed_is_not_said_to_be_behind(fakes: Fakes) -> None:
    """node-1 and node-4 began to fetch, and the group went elsewhere."""
    fakes.cluster.source.seconds = 400.0
    with pytest.raises(PhaseTimeoutError) as caught:
        await seconds_of_start(fakes, config("candidates", download_timeout_s=100.0))
    assert caught.value.last_known == "1 of 4 MB fetched on node node-2"


async def test_nodes_whose_resources_are_in_use_are_no_candidates(fakes: Fakes) -> None:
    fakes.cluster.free = [{"CPU": 1.0, "GPU": 1.0}] * 4 + [{"CPU": 1.0}]
    await seconds_of_start(fakes, config())
    assert fakes.cluster.warmed == {"node-1", "node-2", "node-3"}


async def test_a_fetch_waits_for_the_worker_that_is_still_being_warmed(fakes: Fakes) -> None:
    """A second worker would take as long again."""
    fakes.cluster.worker_start_s, fakes.cluster.source.seconds = 80.0, 10.0
    assert await seconds_of_start(fakes, config()) == pytest.approx(80 + 10, abs=1)
    assert fakes.cluster.warmed == {"node-2"}, "the others were no longer needed"


@pytest.mark.parametrize("error", [NodeFetchError("node-2", "it has no eventinit"), RuntimeError("out of memory")])
async def test_a_failed_warm_up_is_left_to_the_fetch_to_tell(error: Exception, fakes: Fakes) -> None:
    fakes.cluster.warming_fails_with = error
    await seconds_of_start(fakes, config())
    assert fakes.cluster.fetched_on == [("node-2", "MODEL_AND_TOKENIZER")]


async def test_a_large_cluster_is_not_warmed_as_a_whole(fakes: Fakes) -> None:
    fakes.cluster.resources = [{"CPU": 1.0}] * 300
    await seconds_of_start(fakes, config())
    assert len(fakes.cluster.warmed) == 64


@pytest.mark.parametrize("how", ["NONE", "download vetoed", "initialization vetoed"])
@pytest.mark.parametrize("prefetch", ["none", "candidates"])
async def test_nothing_is_done_ahead_that_is_not_needed(how: str, prefetch: str, bus: EventBus, fakes: Fakes) -> None:
    fields = {"worker_node_download_model": "NONE"} if how == "NONE" else {}
    if how != "NONE":
        bus.on(PreDownload if how.startswith("download") else PreInitialization, lambda _event: Veto("not today"))
    await seconds_of_start(fakes, config(prefetch, **fields), bus)
    assert fakes.cluster.warmed == set()
    assert fakes.cluster.fetched_on == []


async def test_candidates_fetch_before_the_group_is_placed_and_those_not_chosen_stop(fakes: Fakes) -> None:
    fakes.cluster.source.seconds = 80.0
    fakes.cluster.sources["node-4"] = FakeSource(seconds=30.0)
    assert await seconds_of_start(fakes, config("candidates")) == pytest.approx(80, abs=1)
    assert fakes.cluster.fetched_on == [("node-4", "MODEL_AND_TOKENIZER"), ("node-2", "MODEL_AND_TOKENIZER")]
    assert fakes.cluster.stopped_on == [("node-1", "MODEL_AND_TOKENIZER")]


@pytest.mark.parametrize("done_before", [True, False], ids=["done before", "under way"])
async def test_a_mode_that_was_changed_after_the_prefetch_began_is_fetched(
    bus: EventBus, fakes: Fakes, *, done_before: bool
) -> None:
    fakes.cluster.source.seconds = 10.0 if done_before else 80.0

    @bus.on(PostPlacementGroup)
    def less(event: PostPlacementGroup) -> None:
        event.context.worker_node_download_model = "TOKENIZER_ONLY"

    await seconds_of_start(fakes, config("candidates"), bus)
    early = [entry for entry in fakes.cluster.fetched_on if entry[1] == "MODEL_AND_TOKENIZER"]
    assert len(early) == (3 if done_before else 0)
    assert fakes.cluster.fetched_on[len(early) :] == [("node-2", "TOKENIZER_ONLY")]


async def test_a_prefetch_that_turns_out_not_to_be_needed_stops(bus: EventBus, fakes: Fakes) -> None:
    fakes.cluster.source.seconds = 80.0

    @bus.on(PostPlacementGroup)
    def nothing(event: PostPlacementGroup) -> None:
        event.context.worker_node_download_model = "NONE"

    assert await seconds_of_start(fakes, config("candidates"), bus) == pytest.approx(50, abs=1)
    assert {node for node, _ in fakes.cluster.stopped_on} == {"node-1", "node-2", "node-4"}
    assert fakes.cluster.fetched_on == []


@pytest.mark.parametrize("node", ["node-1", "node-2"])
async def test_a_failed_prefetch_counts_on_a_node_that_is_chosen(node: str, fakes: Fakes) -> None:
    fakes.cluster.sources[node] = FakeSource(
        seconds=1.0, fails_with=StoreUnavailableError("s3://models/tiny", "is down")
    )
    if node == "node-2":
        with pytest.raises(StoreUnavailableError, match="is down"):
            await seconds_of_start(fakes, config("candidates"))
    else:
        await seconds_of_start(fakes, config("candidates"))
    failed = [entry for entry in fakes.cluster.stopped_on if entry[0] == node]
    assert len(failed) == 1, "it is not tried again"
    assert fakes.left_behind() == []


async def test_a_start_that_is_cancelled_while_the_group_is_pending_stops_the_candidates(
    bus: EventBus, fakes: Fakes
) -> None:
    fakes.cluster.source.seconds, fakes.cluster.ready_after_s = 400.0, None
    with anyio.CancelScope() as scope:

        @bus.on(DownloadProgress, where=lambda event: event.node_id == "node-1" and event.bytes_done > 0)
        def cancel(_event: DownloadProgress) -> None:
            scope.cancel()

        await seconds_of_start(fakes, config("candidates"), bus)
    assert scope.cancelled_caught
    assert {node for node, _ in fakes.cluster.stopped_on} == {"node-1", "node-2", "node-4"}
    assert fakes.left_behind() == []
