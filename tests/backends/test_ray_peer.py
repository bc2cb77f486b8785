"""A model spread over three nodes of a real Ray, each with a cache of its own, from a real S3 server behind a proxy.

The model is larger than the object store of any node.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.config import DownloadConfig, PlacementGroupConfig
from eventinit.downloads import open_source
from eventinit.errors import PlacementError
from eventinit.events import DownloadProgress, PreEngineInit
from eventinit.ports import Backends
from eventinit.testing import FakeEngineBackend
from examples.local_s3 import LocalS3
from tests.downloads.conftest import contents, write_model
from tests.downloads.scripted_store import MIB, content, weights
from tests.real_ray import no_ray_left, ray_processes
from tests.servers.proxy import Proxy, misbehaving_proxy

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

OBJECT_STORE = 80 * MIB
MODEL = {
    "config.json": b"{}",
    "empty.txt": b"",
    "nested/notes.txt": content(1, 5000),
    "model-1.safetensors": weights(2, 60 * MIB + 7),
    "model-2.safetensors": weights(3, 36 * MIB + 1),
}
SIZE = sum(map(len, MODEL.values()))
NODES = 3


@pytest.fixture(scope="module", autouse=True)
def no_ray_is_left() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, no_ray_left(patch):
        yield


@pytest.fixture(scope="module")
def proxy(server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Counts what is read from the store; each test has a model of its own there."""
    folder = write_model(tmp_path_factory.mktemp("model"), MODEL)
    for name in ("direct", "broadcast", "orphaned"):
        server.upload(folder, f"s3://spread/{name}")
    with misbehaving_proxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def caches(no_ray_is_left: None, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The cache of each node; the first is that of this process."""
    return [tmp_path_factory.mktemp(f"node-{number}") for number in range(NODES)]


@pytest.fixture(scope="module", autouse=True)
def address(server: LocalS3, proxy: Proxy, caches: list[Path]) -> Iterator[str]:
    """Three nodes that reach the store through the proxy, and so does this process."""
    from ray.cluster_utils import Cluster

    store = server.environment() | {"AWS_ENDPOINT_URL": proxy.address}
    head, *others = [store | {"EVENTINIT_CACHE": str(cache)} for cache in caches]
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in head.items():
            patch.setenv(name, value)
        cluster: Any = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        try:
            for environment in others:
                cluster.add_node(**node, env_vars=environment, wait=False)
            cluster.wait_for_nodes()
            yield cluster.address
        finally:
            cluster.shutdown()


@pytest_asyncio.fixture(loop_scope="module")
async def start(address: str, proxy: Proxy) -> Callable[..., Any]:
    """Start a node whose group has a bundle on each of the cluster's; return what the store has sent meanwhile."""

    async def start(name: str, bus: EventBus, **download: Any) -> int:
        # On one machine the nodes cannot all keep the model under the same path.
        bus.on(PreEngineInit, lambda event: event.context.extra_init_kwargs.update(model="anywhere"))
        before = Counter(proxy.sent)
        config = LLMConfig(
            model_id="tiny",
            model_source=f"s3://spread/{name}",
            ray_address=address,
            download=DownloadConfig(**download),
            engine_kwargs={"tensor_parallel_size": NODES},
            placement_group_config=PlacementGroupConfig(bundles=({"CPU": 1.0},) * NODES, strategy="STRICT_SPREAD"),
        )
        async with initialize_node(config, bus=bus, backends=Backends(open_source, RayCluster, FakeEngineBackend())):
            pass
        return sum((proxy.sent - before)[Path(file).name] for file in MODEL)

    return start


def received(caches: list[Path], name: str) -> list[dict[str, bytes]]:
    """What the folder of a model holds on each node."""
    return [contents(folder) for cache in caches for folder in cache.glob(f"s3/*{name}*")]


def servers() -> list[psutil.Process]:
    """The processes that serve files to other nodes."""
    return [process for process in ray_processes() if "_Server" in " ".join(process.cmdline())]


async def servers_gone() -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, servers(), 20)
    return not alive


async def test_directly_the_store_is_read_once_for_each_node(start: Callable[..., Any], caches: list[Path]) -> None:
    assert await start("direct", EventBus()) == NODES * SIZE
    assert received(caches, "direct") == [MODEL] * NODES


async def test_a_broadcast_reads_the_store_once_and_brings_every_byte_to_each_node(
    start: Callable[..., Any], caches: list[Path]
) -> None:
    """A direct start of the same model afterwards reads nothing any more."""
    served: list[psutil.Process] = []
    bus = EventBus()
    bus.on(DownloadProgress, lambda _: served.extend(servers()), once=True, where=lambda event: bool(event.node_id))

    assert await start("broadcast", bus, distribution="broadcast") == SIZE

    assert received(caches, "broadcast") == [MODEL] * NODES
    assert served
    assert await servers_gone()
    assert await start("broadcast", EventBus()) == 0


async def test_when_the_peer_is_killed_the_others_go_on_from_the_store_with_what_they_have(
    start: Callable[..., Any], caches: list[Path]
) -> None:
    bus = EventBus()

    def kill(_: DownloadProgress) -> None:
        for process in servers():
            process.kill()

    def is_midway(event: DownloadProgress) -> bool:
        return bool(event.node_id) and event.bytes_done > SIZE / 4

    bus.on(DownloadProgress, kill, once=True, where=is_midway)
    read = await start("orphaned", bus, distribution="broadcast", max_bandwidth=40e6, max_concurrency=2, attempts=2)
    assert received(caches, "orphaned") == [MODEL] * NODES
    assert SIZE < read < 2.9 * SIZE
    assert await servers_gone()


async def test_a_node_that_is_not_there_cannot_serve(address: str, tmp_path: Path) -> None:
    cluster = RayCluster()
    await cluster.connect(address)
    try:
        with pytest.raises(PlacementError, match="ray list nodes"):
            async with cluster.serve("e" * 56, tmp_path, {}):
                pass
    finally:
        await cluster.disconnect()
