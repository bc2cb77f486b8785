"""With ``distribution: broadcast`` one node fetches and the others receive from it; here on the fakes."""

import logging

import pytest
from anyio import fail_after, move_on_after

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.config import DownloadConfig
from eventinit.errors import StoreUnavailableError
from eventinit.events import PreEngineInit
from eventinit.ports import DownloadMode
from eventinit.testing import Fakes, FakeSource

pytestmark = pytest.mark.anyio

NODES = ["node-0", "node-1", "node-2", "node-3"]


@pytest.fixture
def fakes() -> Fakes:
    fakes = Fakes()
    fakes.cluster.resources = [{"CPU": 8.0}] * 4
    fakes.cluster.group_nodes = NODES
    return fakes


def broadcast(local: DownloadMode = "MODEL_AND_TOKENIZER", worker: DownloadMode = "MODEL_AND_TOKENIZER") -> LLMConfig:
    return LLMConfig(
        model_id="tiny",
        model_source="s3://models/tiny",
        download=DownloadConfig(distribution="broadcast"),
        engine_kwargs={"tensor_parallel_size": 4},
        local_node_download_model=local,
        worker_node_download_model=worker,
    )


def roles(fakes: Fakes) -> dict[str, list[str]]:
    """Which node served which."""
    assert all(peer.ended for peer in fakes.cluster.peers)
    return {peer.node_id: sorted(peer.receivers) for peer in fakes.cluster.peers}


async def test_the_others_receive_what_this_node_has_fetched(fakes: Fakes) -> None:
    async with initialize_node(broadcast(), backends=fakes.backends()):
        assert roles(fakes) == {"node-0": NODES[1:]}, "the peer has ended before the download is over"
    size = fakes.source.files * fakes.source.file_bytes
    assert len(fakes.source.fetched) == 1
    assert (fakes.cluster.store_bytes, fakes.cluster.peer_bytes) == (0, 3 * size)


async def test_directly_every_node_fetches_for_itself(fakes: Fakes) -> None:
    config = LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 4})
    async with initialize_node(config, backends=fakes.backends()):
        assert roles(fakes) == {}
    assert len(fakes.cluster.fetched_on) == 3
    assert fakes.cluster.peer_bytes == 0


@pytest.mark.parametrize("local", ["NONE", "TOKENIZER_ONLY"])
async def test_the_first_of_the_others_fetches_what_this_node_does_not_have(local: DownloadMode, fakes: Fakes) -> None:
    """This node is not in the group, and needs less than the others."""
    fakes.cluster.group_nodes = NODES[1:]
    async with initialize_node(broadcast(local), backends=fakes.backends()):
        assert roles(fakes) == {"node-1": ["node-2", "node-3"]}
    assert fakes.cluster.fetched_on[0][0] == "node-1"
    assert fakes.cluster.peer_bytes == 2 * fakes.cluster.store_bytes


async def test_a_node_that_is_in_the_group_serves_what_it_took_for_that(fakes: Fakes) -> None:
    async with initialize_node(broadcast("TOKENIZER_ONLY"), backends=fakes.backends()):
        assert roles(fakes) == {"node-0": NODES[1:]}
    assert fakes.source.fetched == ["TOKENIZER_ONLY", "MODEL_AND_TOKENIZER"]


async def test_a_single_other_node_fetches_and_serves_nobody(fakes: Fakes) -> None:
    fakes.cluster.group_nodes = ["node-3"]
    async with initialize_node(broadcast("NONE"), backends=fakes.backends()):
        assert roles(fakes) == {}
    assert [node for node, _ in fakes.cluster.fetched_on] == ["node-3"]


async def test_what_cannot_be_shared_is_fetched_directly_and_one_line_says_so(
    fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    fakes.source.can_be_shared = False
    caplog.set_level(logging.INFO, logger="eventinit")
    async with initialize_node(broadcast(), backends=fakes.backends()):
        assert roles(fakes) == {}
    assert len(fakes.cluster.fetched_on) == 3
    assert sum("not_broadcast" in record.getMessage() for record in caplog.records) == 1


async def test_a_receiver_that_fails_ends_the_start_and_the_peer(fakes: Fakes) -> None:
    fakes.cluster.sources["node-2"] = FakeSource(fails_with=StoreUnavailableError("s3://models/tiny", "down"))
    fakes.cluster.source.seconds = 100.0
    with fail_after(10), pytest.raises(StoreUnavailableError):
        async with initialize_node(broadcast(), backends=fakes.backends()):
            pass
    assert roles(fakes) == {"node-0": []}
    assert sorted(node for node, _ in fakes.cluster.stopped_on) == NODES[1:]


async def test_a_start_that_is_cancelled_while_files_are_spread_ends_the_peer(fakes: Fakes) -> None:
    fakes.cluster.source.seconds = 100.0
    with move_on_after(0.3) as scope:
        async with initialize_node(broadcast(), backends=fakes.backends()):
            pass
    assert scope.cancelled_caught
    assert roles(fakes) == {"node-0": []}
    assert fakes.left_behind() == []


async def test_the_nodes_of_a_group_that_grew_late_receive_as_well(fakes: Fakes, bus: EventBus) -> None:
    """The first group has one node, this one; its replacement has all four."""
    config = LLMConfig(
        model_id="tiny", model_source="s3://models/tiny", download=DownloadConfig(distribution="broadcast")
    )

    def more_workers(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["tensor_parallel_size"] = 4

    bus.on(PreEngineInit, more_workers)
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        assert roles(fakes) == {"node-0": NODES[1:]}
