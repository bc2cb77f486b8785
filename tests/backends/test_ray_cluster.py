"""The real Ray: embedded, found in the process, adopted, and a cluster of two nodes."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import ModelNotFoundError, PlacementError
from eventinit.ports import DownloadRequest
from tests.real_ray import no_ray_left, ray, ray_processes, states_in_ray

pytestmark = [pytest.mark.real, pytest.mark.asyncio]


NO_EVENTINIT = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "eventinit":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""


def start_ray() -> None:
    """Start Ray as a program or a hook does, in the main thread."""
    ray().init(address="local", include_dashboard=False, configure_logging=False, log_to_driver=False)


def process_with_port(port: int) -> psutil.Process:
    """The process at the other end of a connection."""
    [pid] = {c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid}
    return psutil.Process(pid)


async def longest_lag(lags: list[float]) -> None:
    """Note how late the event loop wakes a task that sleeps for 10 ms, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        asked = loop.time()
        await asyncio.sleep(0.01)
        lags.append(loop.time() - asked - 0.01)


def _request(source: str) -> DownloadRequest:
    return DownloadRequest((source,), "MODEL_AND_TOKENIZER")


@pytest.fixture(autouse=True)
def no_ray_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with no_ray_left(monkeypatch):
        yield


@pytest_asyncio.fixture
async def embedded() -> AsyncIterator[RayCluster]:
    cluster = RayCluster()
    assert not await cluster.connect(None)
    await cluster.ensure_running()
    yield cluster
    await cluster.disconnect()


@pytest.fixture
def two_nodes() -> Iterator[str]:
    """The address of a Ray of two nodes; only the second has the resource ``other``."""
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1, resources={"other": 1})
        yield cluster.address
    finally:
        cluster.shutdown()


async def test_a_group_is_reserved_located_and_removed_while_the_loop_stays_responsive() -> None:
    """One whole life of an embedded Ray; signal handlers are as before and no step holds up the loop for long."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    lags: list[float] = []
    heartbeat = asyncio.create_task(longest_lag(lags))
    cluster = RayCluster()
    try:
        assert cluster.address() is None
        assert not await cluster.connect(None)
        await cluster.ensure_running()
        worst_of_start = max(lags)
        lags.clear()
        address = cluster.address()
        assert address == ray().get_runtime_context().gcs_address
        assert not cluster.can_grow()
        [node] = await cluster.nodes()
        assert node.is_local
        assert node.resources["CPU"] >= 1

        group = await cluster.create_group([{"CPU": 1.0}, {"CPU": 0.5}], "PACK", "whole-life")
        await cluster.wait_until_ready(group)
        assert await asyncio.to_thread(states_in_ray) == {"whole-life": "CREATED"}
        placement = await cluster.placement_of(group)
        assert placement.bundles == ({"CPU": 1.0}, {"CPU": 0.5})
        assert placement.node_ids == (node.node_id, node.node_id)

        await cluster.remove_group(group)
        await cluster.remove_group(group)
        assert await asyncio.to_thread(states_in_ray) == {"whole-life": "REMOVED"}
        with pytest.raises(PlacementError, match="create it again"):
            await cluster.placement_of(group)
    finally:
        await cluster.disconnect()
        heartbeat.cancel()
    await cluster.remove_group(group)
    assert not ray().is_initialized()
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
    print(f"longest lag of the event loop: start {worst_of_start * 1000:.0f} ms, then {max(lags) * 1000:.0f} ms")
    assert worst_of_start < 2
    assert max(lags) < 1


async def test_waiting_for_a_group_that_has_no_room_can_be_cancelled_at_once(embedded: RayCluster) -> None:
    group = await embedded.create_group([{"CPU": 10_000.0}], "PACK", "too-big")
    assert (await embedded.placement_of(group)).node_ids == (None,)
    started = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await embedded.wait_until_ready(group)
    assert asyncio.get_running_loop().time() - started < 1.5
    await embedded.remove_group(group)


async def test_waiting_ends_with_an_error_when_the_group_is_removed(embedded: RayCluster) -> None:
    group = await embedded.create_group([{"CPU": 10_000.0}], "PACK", "removed-meanwhile")
    waiting = asyncio.create_task(embedded.wait_until_ready(group))
    done, _ = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    await embedded.remove_group(group)
    with pytest.raises(PlacementError, match="removed"):
        await asyncio.wait_for(waiting, 20)


async def test_a_users_own_group_is_located_and_anything_else_is_refused(embedded: RayCluster) -> None:
    from ray.util.placement_group import PlacementGroup

    own: Any = ray().util.placement_group([{"CPU": 1.0}], strategy="STRICT_PACK")
    await embedded.wait_until_ready(own)
    assert (await embedded.placement_of(own)).bundles == ({"CPU": 1.0},)
    with pytest.raises(PlacementError, match=r"str, not a placement group.*ray\.util\.placement_group"):
        await embedded.placement_of("my group")
    empty: Any = PlacementGroup.empty()
    with pytest.raises(PlacementError, match="not in the cluster"):
        await embedded.placement_of(empty)


async def test_bundles_that_ray_refuses_are_named(embedded: RayCluster) -> None:
    with pytest.raises(PlacementError, match=r"'no-bundles'.*placement_group_config"):
        await embedded.create_group([], "PACK", "no-bundles")


async def test_two_starts_share_one_embedded_ray_and_the_last_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is as before afterwards, and an address in it does not lead the embedded Ray astray."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    first, second = RayCluster(), RayCluster()
    assert not await first.connect(None)
    assert not await second.connect(None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    await asyncio.gather(first.ensure_running(), second.ensure_running())
    assert first.address() == second.address() != "127.0.0.1:1"
    await first.disconnect()
    await first.disconnect()
    assert len(await second.nodes()) == 1
    await second.disconnect()
    assert not ray().is_initialized()
    assert not ray_processes()
    assert "RAY_AUTH_MODE" not in os.environ


async def test_an_embedded_ray_outlives_the_thread_that_asked_for_it() -> None:
    """Linux would kill it with that thread: no step of the start may run Ray's start in a pooled thread."""
    cluster = RayCluster()

    async def start() -> None:
        await cluster.connect(None)
        await cluster.ensure_running()

    await asyncio.to_thread(asyncio.run, start())  # the worker threads of a loop end with it
    for thread in threading.enumerate():
        if thread.name == "AnyIO worker thread":
            thread.join(20)
            assert not thread.is_alive()
    processes = ray_processes()
    assert processes
    gone, _ = psutil.wait_procs(processes, timeout=1)
    assert not gone
    await cluster.disconnect()


async def test_a_ray_that_the_process_had_before_is_left_running() -> None:
    start_ray()
    try:
        cluster = RayCluster()
        assert await cluster.connect(None)
        await cluster.ensure_running()
        assert not cluster.can_grow()
        await cluster.disconnect()
        assert ray().is_initialized()
        assert len(ray().nodes()) == 1
    finally:
        ray().shutdown()


async def test_a_ray_that_a_hook_started_is_adopted_and_stopped() -> None:
    cluster = RayCluster()
    assert not await cluster.connect(None)
    start_ray()
    await cluster.ensure_running()
    assert not cluster.can_grow()
    await cluster.disconnect()
    assert not ray().is_initialized()


async def test_a_ray_of_a_start_that_came_to_nothing_is_stopped_with_the_last_start_it_may_belong_to() -> None:
    """A hook started it, and then its start failed before it came to use Ray."""
    first, second = RayCluster(), RayCluster()
    for cluster in (first, second):
        assert not await cluster.connect(None)
    start_ray()
    await second.disconnect()
    assert ray().is_initialized()
    await first.disconnect()
    assert not ray().is_initialized()
    await second.disconnect()


async def test_a_start_that_never_used_ray_leaves_what_it_met_and_what_came_after_it() -> None:
    after, met = RayCluster(), RayCluster()
    assert not await after.connect(None)
    await after.disconnect()
    start_ray()
    try:
        await after.disconnect()
        assert await met.connect(None)
        await met.disconnect()
        assert ray().is_initialized()
    finally:
        ray().shutdown()


@pytest.mark.parametrize("native", [True, False], ids=["asyncio", "anyio"])
async def test_a_start_of_ray_that_is_cancelled_leaves_none(*, native: bool) -> None:
    import anyio

    cluster = RayCluster()
    await cluster.connect(None)
    if native:
        starting = asyncio.create_task(cluster.ensure_running())
        await asyncio.wait([starting], timeout=0.3)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    else:
        with anyio.move_on_after(0.3) as scope:
            await cluster.ensure_running()
        assert scope.cancelled_caught
    assert not ray().is_initialized()
    await cluster.disconnect()


async def test_an_address_where_nothing_answers_is_named_with_the_remedy() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        async with asyncio.timeout(60):
            with pytest.raises(PlacementError, match=rf"no Ray answers at {address}.*ray status --address={address}"):
                await RayCluster().connect(address)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "nonsense"])
async def test_an_address_that_cannot_be_used_is_named(address: str) -> None:
    with pytest.raises(PlacementError, match=address):
        await RayCluster().connect(address)


async def test_without_a_ray_the_questions_say_so_and_start_none() -> None:
    cluster = RayCluster()
    for question in (cluster.nodes(), cluster.placement_of("group"), cluster.create_group([{"CPU": 1}], "PACK", "x")):
        with pytest.raises(PlacementError, match="no Ray runs"):
            await question
    await cluster.remove_group("group")


async def test_a_model_is_fetched_on_another_node(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes on one machine: the fetch runs on the second, and its errors come back as they were raised."""
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("RAY_ADDRESS", two_nodes)
    cluster = RayCluster()
    try:
        assert await cluster.connect(None)
        assert cluster.can_grow()
        assert cluster.address() == two_nodes
        nodes = await cluster.nodes()
        assert sorted((node.is_local, "other" in node.resources) for node in nodes) == [(False, True), (True, False)]
        [other] = [node.node_id for node in nodes if not node.is_local]

        result = await cluster.fetch_on(other, _request(str(tmp_path)), {})
        assert result.path == tmp_path
        with pytest.raises(ModelNotFoundError):
            await cluster.fetch_on(other, _request(str(tmp_path / "missing")), {})
        with pytest.raises(PlacementError, match="ray list nodes"):
            await cluster.fetch_on("e" * 56, _request(str(tmp_path)), {})
    finally:
        await cluster.disconnect()


async def test_a_cancelled_fetch_ends_on_the_other_node(two_nodes: str) -> None:
    """The store is a server that never answers: it sees the fetch come, and its process ends when it is cancelled."""
    connected = asyncio.Event()
    ports: list[int] = []

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.append(writer.get_extra_info("peername")[1])
        connected.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    cluster = RayCluster()
    try:
        await cluster.connect(two_nodes)
        [other] = [node.node_id for node in await cluster.nodes() if not node.is_local]
        fetch = asyncio.create_task(cluster.fetch_on(other, _request("s3://bucket/model"), {"env_vars": store}))
        await asyncio.wait_for(connected.wait(), 60)
        fetching = await asyncio.to_thread(process_with_port, ports[0])
        fetch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetch
        _, alive = await asyncio.to_thread(psutil.wait_procs, [fetching], 20)
        assert not alive
    finally:
        await cluster.disconnect()
        server.close()


async def test_a_node_without_eventinit_is_told_how_to_get_it(two_nodes: str, tmp_path: Path) -> None:
    """The Python of the other node is made to find no eventinit."""
    (tmp_path / "sitecustomize.py").write_text(NO_EVENTINIT)
    cluster = RayCluster()
    try:
        await cluster.connect(two_nodes)
        [other] = [node.node_id for node in await cluster.nodes() if not node.is_local]
        environment = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
        with pytest.raises(PlacementError, match=r"eventinit is not installed there.*runtime_env"):
            await cluster.fetch_on(other, _request(str(tmp_path)), environment)
    finally:
        await cluster.disconnect()
