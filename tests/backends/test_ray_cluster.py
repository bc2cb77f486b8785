"""The real Ray: embedded, found in the process and adopted."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import pytest_asyncio

from eventinit.backends.engine_folder import owner_of_folder
from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import PlacementError
from eventinit.node_download import NodeDownload
from eventinit.ports import DownloadRequest
from tests.real_ray import no_ray_left, ray, ray_processes, states_in_ray

pytestmark = [pytest.mark.real, pytest.mark.asyncio]


def start_ray() -> None:
    """Start Ray as a program or a hook does, in the main thread."""
    ray().init(address="local", include_dashboard=False, configure_logging=False, log_to_driver=False)


async def longest_lag(lags: list[float]) -> None:
    """Note how late the event loop wakes a task that sleeps for 10 ms, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        asked = loop.time()
        await asyncio.sleep(0.01)
        lags.append(loop.time() - asked - 0.01)


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
        assert (await cluster.capacity()).autoscaler == "none"
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
        assert (await cluster.capacity()).autoscaler == "none"
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
    assert (await cluster.capacity()).autoscaler == "none"
    await cluster.disconnect()
    assert not ray().is_initialized()


def is_whole_and_unsigned(session: Path) -> bool:
    return any(session.iterdir()) and owner_of_folder(session) is None


async def test_a_cluster_that_a_hook_has_joined_keeps_its_folder() -> None:
    """The process leaves it with the last start; its files are those of a Ray that goes on."""
    from ray.cluster_utils import Cluster

    theirs: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster = RayCluster()
        assert not await cluster.connect(None)
        ray().init(address=theirs.address, configure_logging=False, log_to_driver=False)
        await cluster.ensure_running()
        await cluster.disconnect()
        assert is_whole_and_unsigned(Path(theirs.head_node.get_session_dir_path()))
    finally:
        theirs.shutdown()


async def test_a_cluster_without_a_token_can_be_used_after_an_embedded_ray(tmp_path: Path) -> None:
    """An embedded Ray has one, for which this process would go on to ask: what a node sends would not come."""
    from ray.cluster_utils import Cluster

    (tmp_path / "config.json").write_text("{}")
    request = DownloadRequest((str(tmp_path),), "TOKENIZER_ONLY")
    cluster = RayCluster()
    await cluster.ensure_running()
    await cluster.disconnect()
    theirs: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        await cluster.connect(theirs.address)
        [node] = await cluster.nodes()
        with anyio.fail_after(60):
            result = await cluster.fetch_on(node.node_id, NodeDownload("start", node.node_id, request), {}, print)
        await cluster.disconnect()
        assert result.files == 1
    finally:
        theirs.shutdown()


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
