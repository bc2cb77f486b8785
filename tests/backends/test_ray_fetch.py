"""Fetches on other nodes of a real Ray cluster, from a real S3 server: two nodes share a cache, one has its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.downloads import open_source
from eventinit.errors import ModelNotFoundError, NodeFetchError
from eventinit.events import DownloadProgress, PostDownload, PreDownload
from eventinit.node_download import NodeDownload
from eventinit.ports import Backends, DownloadRequest, DownloadResult, FetchProgress
from eventinit.testing import FakeEngineBackend
from examples.local_s3 import LocalS3
from tests.backends.on_nodes import GO, DeafFetch, StuckFetch
from tests.real_ray import no_ray_left, ray
from tests.servers.silent_store import SilentStore

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
MODEL = "s3://models/on-nodes"
FILES = {"config.json": b"{}", "tokenizer.json": b"[]", "notes.bin": b"x" * 3_000_000}
SIZE = sum(map(len, FILES.values()))

NO_EVENTINIT = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "eventinit":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(scope="module", autouse=True)
def no_ray_is_left() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, no_ray_left(patch):
        yield


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("shared"))


@dataclass(slots=True)
class RayNodes:
    """A running cluster, and each of its nodes by name."""

    cluster: Any
    nodes: dict[str, Any]


@pytest.fixture(scope="module")
def ray_nodes(no_ray_is_left: None, shared_cache: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """A head and three nodes: ``one`` and ``two`` share a cache, ``three`` has another."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "resources": {"gate": 1}}
    running = RayNodes(Cluster(initialize_head=True, head_node_args=head), {})
    kinds = {"one": (shared_cache, {"slot": 1}), "two": (shared_cache, {"slot": 1})}
    kinds["three"] = (str(tmp_path_factory.mktemp("own")), {})
    try:
        for name, (cache, more) in kinds.items():
            resources, variables = {name: 1, **more}, {"EVENTINIT_CACHE": cache}
            node = running.cluster.add_node(num_cpus=1, resources=resources, env_vars=variables, wait=False)
            running.nodes[name] = node
        running.cluster.wait_for_nodes()
        yield running
    finally:
        running.cluster.shutdown()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(ray_nodes: RayNodes) -> AsyncIterator[RayCluster]:
    connected = RayCluster()
    assert await connected.connect(ray_nodes.cluster.address)
    yield connected
    await connected.disconnect()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(cluster: RayCluster) -> dict[str, str]:
    """The id of each node by its name."""
    found = {name: node for node in await cluster.nodes() for name in ("one", "two", "three") if name in node.resources}
    assert not any(node.is_local for node in found.values())
    return {name: node.node_id for name, node in found.items()}


@pytest.fixture(scope="module")
def environment(server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The runtime environment of the fetches, with which they reach the server's model."""
    folder = tmp_path_factory.mktemp("model")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    server.upload(folder, MODEL)
    return {"env_vars": {**server.environment(), "PYTHONPATH": str(ROOT)}}


def fetch_of(node_id: str, source: str = MODEL) -> NodeDownload:
    return NodeDownload("start", node_id, DownloadRequest((source,), "MODEL_AND_TOKENIZER"))


def unheard(_progress: FetchProgress) -> None:
    return


async def test_nodes_that_share_a_cache_fetch_once_and_a_node_with_its_own_fetches_too(
    cluster: RayCluster, nodes: dict[str, str], environment: dict[str, Any]
) -> None:
    """All three at the same time; the progress of each comes here and ends with everything."""
    reports: dict[str, list[FetchProgress]] = {name: [] for name in nodes}
    results: dict[str, DownloadResult] = {}

    async def fetch(name: str) -> None:
        fetching = fetch_of(nodes[name])
        results[name] = await cluster.fetch_on(nodes[name], fetching, environment, reports[name].append)

    await asyncio.gather(*map(fetch, nodes))
    fetched = {name: result.bytes_fetched for name, result in results.items()}
    assert fetched["one"] + fetched["two"] == fetched["three"] == SIZE
    assert results["one"].path == results["two"].path != results["three"].path
    for result in results.values():
        assert {path.name: path.read_bytes() for path in result.path.iterdir() if path.name in FILES} == FILES
    assert {name: told[-1] for name, told in reports.items()} == dict.fromkeys(nodes, FetchProgress(SIZE, SIZE, 3, 3))


async def test_what_the_fetch_raises_there_is_raised_here(cluster: RayCluster, nodes: dict[str, str]) -> None:
    with pytest.raises(ModelNotFoundError, match="/nowhere/at/all"):
        await cluster.fetch_on(nodes["one"], fetch_of(nodes["one"], "/nowhere/at/all"), {}, unheard)


@pytest.fixture
def silent_store() -> SilentStore:
    return SilentStore()


async def test_a_cancelled_fetch_has_ended_there_and_its_process_serves_the_next(
    cluster: RayCluster, nodes: dict[str, str], silent_store: SilentStore
) -> None:
    """The fetch is asked to end, which it does in the orderly way, rather than killed."""
    async with silent_store.serving() as environment:
        fetching = asyncio.create_task(cluster.fetch_on(nodes["one"], fetch_of(nodes["one"]), environment, unheard))
        process = await silent_store.client()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert await silent_store.is_alone()
        assert process.is_running()
        with pytest.raises(ModelNotFoundError):
            await cluster.fetch_on(nodes["one"], fetch_of(nodes["one"], "/nowhere/at/all"), environment, unheard)
        assert process.is_running()


async def test_a_program_that_was_started_in_the_background_of_a_shell_cancels_in_the_orderly_way_too(
    cluster: RayCluster, nodes: dict[str, str], silent_store: SilentStore
) -> None:
    async with silent_store.serving() as environment:
        deaf = DeafFetch(DownloadRequest((MODEL,), "NONE"))
        process_id = (await cluster.fetch_on(nodes["one"], deaf, environment, unheard)).source
        fetching = asyncio.create_task(cluster.fetch_on(nodes["one"], fetch_of(nodes["one"]), environment, unheard))
        process = await silent_store.client()
        assert str(process.pid) == process_id
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert await silent_store.is_alone()
        assert process.is_running()


async def test_a_cancelled_fetch_that_is_stuck_is_killed(
    cluster: RayCluster, nodes: dict[str, str], silent_store: SilentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventinit.backends.ray_fetch._GRACE_S", 0.5)
    async with silent_store.serving() as environment:
        variables = {**environment["env_vars"], "PYTHONPATH": str(ROOT)}
        port = int(variables["AWS_ENDPOINT_URL"].rpartition(":")[2])
        stuck = StuckFetch(port, DownloadRequest((MODEL,), "NONE"))
        fetching = asyncio.create_task(cluster.fetch_on(nodes["one"], stuck, {"env_vars": variables}, unheard))
        process = await silent_store.client()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        _, alive = await asyncio.to_thread(psutil.wait_procs, [process], 10)
        assert not alive


async def test_a_fetch_whose_process_is_killed_names_the_node(
    cluster: RayCluster, nodes: dict[str, str], silent_store: SilentStore
) -> None:
    async with silent_store.serving() as environment:
        fetching = asyncio.create_task(cluster.fetch_on(nodes["two"], fetch_of(nodes["two"]), environment, unheard))
        (await silent_store.client()).kill()
        with pytest.raises(NodeFetchError, match=r"WorkerCrashedError.*ray list nodes") as caught:
            await fetching
    assert caught.value.node_id == nodes["two"]


async def test_a_node_without_eventinit_is_told_how_to_get_it(
    cluster: RayCluster, nodes: dict[str, str], tmp_path: Path
) -> None:
    """The Python of the other node is made to find no eventinit."""
    (tmp_path / "sitecustomize.py").write_text(NO_EVENTINIT)
    environment = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
    with pytest.raises(NodeFetchError, match=r"eventinit is not installed there.*runtime_env"):
        await cluster.fetch_on(nodes["one"], fetch_of(nodes["one"]), environment, unheard)


async def test_a_fetch_runs_in_the_process_that_was_warmed(
    cluster: RayCluster, nodes: dict[str, str], silent_store: SilentStore
) -> None:
    async with silent_store.serving() as environment:
        await cluster.warm(nodes["two"], environment)
        warmed_at = time.time()
        fetching = asyncio.create_task(cluster.fetch_on(nodes["two"], fetch_of(nodes["two"]), environment, unheard))
        process = await silent_store.client()
        assert process.create_time() < warmed_at
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching


async def notes(folder: Path, what: str, count: int) -> dict[str, Any]:
    """Return so many notes of a kind, by the node that left them, once they are there."""
    async with asyncio.timeout(60):
        while len(found := _notes(folder, what)) < count:  # noqa: ASYNC110 - other processes write them
            await asyncio.sleep(0.05)
    return found


def _notes(folder: Path, what: str) -> dict[str, Any]:
    return {path.name.partition("-")[2]: json.loads(path.read_text()) for path in folder.glob(f"{what}-*")}


async def test_candidates_begin_before_the_group_is_placed_and_the_one_that_is_not_chosen_stops(
    cluster: RayCluster,
    nodes: dict[str, str],
    environment: dict[str, Any],
    shared_cache: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole start but for the engine: the group waits for a resource until both candidates have begun."""
    for name, value in {**environment["env_vars"], "EVENTINIT_CACHE": shared_cache}.items():
        monkeypatch.setenv(name, value)
    gate: Any = ray().util.placement_group([{"gate": 1}])
    await cluster.wait_until_ready(gate)
    notes_of_nodes = {"path": "tests.backends.on_nodes:NodeNotes", "kwargs": {"folder": str(tmp_path)}}
    settings: dict[str, Any] = {
        "placement_group_config": {"bundles": [{"slot": 1}, {"gate": 1}]},
        "download": {"prefetch": "candidates"},
        "handlers": [notes_of_nodes],
        "runtime_env": environment,
        "engine_kwargs": {"tensor_parallel_size": 2},
    }
    config = LLMConfig(model_id="tiny", model_source=MODEL, **settings)
    bus, engine = EventBus(), FakeEngineBackend()
    told: list[DownloadProgress | PostDownload] = []
    bus.on(DownloadProgress, told.append)
    bus.on(PostDownload, told.append)
    bus.on(PreDownload, lambda event: event.context.custom_data.update(note="for all"))

    async def open_the_gate() -> None:
        begun = await notes(tmp_path, "pre", 3)
        assert set(begun) == {"here", nodes["one"], nodes["two"]}
        assert len({note["process"] for note in begun.values()}) == 3
        assert {note["custom_data"]["note"] for note in begun.values()} == {"for all"}
        await cluster.remove_group(gate)
        await notes(tmp_path, "stopped", 1)
        (tmp_path / GO).touch()

    opening = asyncio.create_task(open_the_gate())
    backends = Backends(open_source=open_source, cluster=RayCluster, engine=engine)
    async with initialize_node(config, bus=bus, backends=backends) as node:
        await opening
        placement = await cluster.placement_of(node.context.placement_group)
    chosen = placement.node_ids[0]
    assert chosen in {nodes["one"], nodes["two"]}
    [stopped] = await notes(tmp_path, "stopped", 1)
    assert {chosen, stopped} == {nodes["one"], nodes["two"]}
    assert set(await notes(tmp_path, "post", 2)) == {"here", chosen}
    assert isinstance(told[-1], PostDownload)
    progress = [event for event in told if isinstance(event, DownloadProgress) and event.node_id == chosen]
    assert progress[-1].bytes_done == progress[-1].bytes_total == SIZE


async def test_a_node_that_dies_during_its_fetch_is_named(
    cluster: RayCluster, nodes: dict[str, str], ray_nodes: RayNodes, silent_store: SilentStore
) -> None:
    """The last test here, since the cluster is one node smaller after it."""
    async with silent_store.serving() as environment:
        fetching = asyncio.create_task(cluster.fetch_on(nodes["three"], fetch_of(nodes["three"]), environment, unheard))
        await silent_store.client()
        remove = ray_nodes.cluster.remove_node
        await asyncio.to_thread(remove, ray_nodes.nodes["three"], allow_graceful=False)
        with pytest.raises(NodeFetchError, match="ray list nodes") as caught:
            await fetching
    assert caught.value.node_id == nodes["three"]
