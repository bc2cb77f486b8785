"""The cluster that nodes are placed on: Ray, connected to, found in the process, or embedded in it."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, final

import anyio

from eventinit.backends import ray_capacity, ray_control, ray_groups, ray_session
from eventinit.backends.ray_fetch import fetch_on_node, warm_node
from eventinit.backends.ray_peer import serve_folder
from eventinit.backends.ray_session import RayShare, load_ray
from eventinit.errors import PlacementError
from eventinit.ports import Bundle, Capacity, ClusterNode, DownloadResult, GroupPlacement, NodeFetch, Report, Strategy
from eventinit.threads import run_in_thread

T = TypeVar("T")

_ANSWER_TIMEOUT_S: Final = 10.0
_REMEDY: Final = "check it with `ray status --address={}`, then correct ray_address or RAY_ADDRESS"


@final
class RayCluster:
    """The Ray that one node start uses.

    All starts of a process share one Ray. What was there before the start stays; what the starts connected to, started
    or adopted ends with the last of them.
    """

    def __init__(self) -> None:
        self._share: RayShare | None = None
        self._before = ray_session.environment_now()
        self._was_running = True

    async def connect(self, address: str | None) -> bool:
        """Connect to the Ray at ``address`` or ``RAY_ADDRESS``; return False when neither names one and none runs.

        A Ray that this process already uses is used, whatever the address says.

        Raises:
            PlacementError: The address is unusable, or nothing answers there.
        """
        self._before = ray_session.environment_now()
        self._was_running = ray_session.is_running()
        wanted = address or os.environ.get("RAY_ADDRESS")
        if self._was_running:
            await self._take(None)
            return True
        if not wanted or wanted == "local":
            ray_session.met_none.add(self)
            return False
        await self._take(await _reachable(wanted))
        self._was_running = True
        return True

    async def ensure_running(self) -> None:
        """Use the Ray that runs in the process, or start an embedded one.

        A Ray that was not there at ``connect`` was started by somebody's hook; it is adopted and ends with the nodes.

        Raises:
            PlacementError: Ray did not start.
        """
        if self._share is None:
            await self._take(None)

    async def claim(self) -> None:
        """Take over a Ray that a hook has started since ``connect``; one that is started from now on is not ours."""
        if self._share is None and self in ray_session.met_none and ray_session.is_running():
            await self._take(None)
        ray_session.met_none.discard(self)

    async def disconnect(self) -> None:
        """Give up this start's share of Ray; a Ray that was there before stays as it was.

        A Ray that a hook started and that never came to ``ensure_running``, since the start failed, is stopped too.
        """
        share, self._share = self._share, None
        if share is not None:
            ray_session.met_none.discard(self)
            await _clean_up("release of Ray", partial(ray_session.give_back, share))
        elif self in ray_session.met_none:
            await _clean_up("release of Ray", partial(ray_session.end_uncounted, self, self._before))

    def address(self) -> str | None:
        """Return the address of Ray's control store, or None when no Ray runs in the process."""
        if not ray_session.is_running():
            return None
        return str(load_ray().get_runtime_context().gcs_address)

    async def nodes(self) -> Sequence[ClusterNode]:
        """List the living nodes."""
        return await _ask(_living_nodes)

    async def capacity(self, group: object = None) -> Capacity:
        """Tell what the nodes have free and what the autoscaler does about a pending group.

        Raises:
            PlacementError: Ray's control store has not answered for a while.
        """
        _require_ray()
        return await ray_control.ask(partial(ray_capacity.look, group=group))

    async def surrounding_group(self) -> object | None:
        """Return the group that this process runs in as an actor or task, such as a Ray Serve replica, or None."""
        return await anyio.to_thread.run_sync(ray_groups.surrounding)

    async def create_group(self, bundles: Sequence[Bundle], strategy: Strategy, name: str) -> object:
        """Ask for a placement group and return it at once; it ends with this process at the latest.

        Raises:
            PlacementError: Ray refuses the bundles.
        """

        _require_ray()
        create = partial(ray_groups.create, bundles, strategy, name)
        return await run_in_thread(create, name="creation of a placement group", undo=ray_groups.remove)

    async def wait_until_ready(self, group: object) -> None:
        """Return when every bundle of the group is reserved; wait for as long as that takes.

        Raises:
            PlacementError: The group was removed, or is no placement group.
        """
        await self.placement_of(group)
        await ray_groups.wait_until_ready(group)

    async def placement_of(self, group: object) -> GroupPlacement:
        """Tell where a group is, be it ours or a user's own.

        Raises:
            PlacementError: It is no placement group, or was removed.
        """
        return await _ask(partial(ray_groups.locate, group))

    async def remove_group(self, group: object) -> None:
        """Remove a group, ready or not; removing it twice, or after Ray has ended, is harmless."""
        await _clean_up("removal of a placement group", partial(ray_groups.remove, group))

    async def warm(self, node_id: str, runtime_env: Mapping[str, Any]) -> None:
        """Bring up on another node the process that a later ``fetch_on`` with the same environment runs in.

        Raises:
            NodeFetchError: The node is gone, or cannot run eventinit.
        """
        _require_ray()
        await warm_node(node_id, runtime_env)

    async def fetch_on(
        self, node_id: str, fetch: NodeFetch, runtime_env: Mapping[str, Any], report: Report
    ) -> DownloadResult:
        """Run a fetch on another node and pass its reports on; a cancelled one has ended there first.

        Raises:
            DownloadError: The files cannot be had there; the class says why.
            NodeFetchError: The node is gone, or cannot run eventinit.
        """
        _require_ray()
        return await fetch_on_node(node_id, fetch, runtime_env, report)

    def serve(self, node_id: str, folder: Path, runtime_env: Mapping[str, Any]) -> AbstractAsyncContextManager[object]:
        """Serve a folder of a node through Ray's object store, until the block ends.

        Raises:
            PlacementError: The node is gone, or cannot run eventinit; raised on entering the block.
        """
        _require_ray()
        return serve_folder(node_id, folder, runtime_env)

    async def _take(self, address: str | None) -> None:
        given_up = threading.Event()
        adopt = not self._was_running
        take = partial(ray_session.take, address, self._before, given_up, adopt=adopt)
        try:
            self._share = await run_in_thread(take, name="start of Ray", hurry=given_up, undo=_give_back)
        except Exception as error:
            where = f"Ray at {address}" if address else "an embedded Ray"
            remedy = _REMEDY.format(address) if address else "ray's log folder /tmp/ray/session_latest/logs says more"
            raise PlacementError(f"{where} could not be used: {type(error).__name__}: {error}; {remedy}") from error


def _give_back(share: RayShare | None) -> None:
    if share is not None:
        ray_session.give_back(share)


async def _reachable(address: str) -> str:
    """Return the address as host and port if something answers there.

    ``ray.init`` itself tries for many minutes, prints to the terminal meanwhile and cannot be interrupted.
    """
    if "://" in address:
        problem = "Ray client addresses cannot be used, since the engine's processes join the cluster themselves"
        raise PlacementError(f"{address}: {problem}; give the host and port of the cluster's head, such as head:6379")
    try:
        resolved = await run_in_thread(partial(_host_and_port, address), name="look for Ray")
        with anyio.fail_after(_ANSWER_TIMEOUT_S):
            await _knock(resolved)
    except (OSError, ValueError, TimeoutError) as error:
        problem = str(error) or f"no answer within {_ANSWER_TIMEOUT_S:g} s"
        raise PlacementError(f"no Ray answers at {address}: {problem}; {_REMEDY.format(address)}") from error
    return resolved


def _host_and_port(address: str) -> str:
    # Private, but it is what ray.init itself resolves "auto" with.
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die(address))


async def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    stream = await anyio.connect_tcp(host.strip("[]"), int(port))
    await stream.aclose()


async def _clean_up(name: str, work: Callable[[], object]) -> None:
    await run_in_thread(work, name=name, even_if_cancelled=True)


def _require_ray() -> None:
    # Ray's functions start a cluster by themselves when there is none.
    if not ray_session.is_running():
        raise PlacementError("no Ray runs in this process; connect to one or start one first")


async def _ask(question: Callable[[], T]) -> T:
    _require_ray()
    await ray_control.wait_until_it_answers()
    return await anyio.to_thread.run_sync(question, abandon_on_cancel=True)


def _living_nodes() -> tuple[ClusterNode, ...]:
    ray = load_ray()
    here = ray.get_runtime_context().get_node_id()
    return tuple(
        ClusterNode(node["NodeID"], dict(node["Resources"]), node["NodeID"] == here)
        for node in ray.nodes()
        if node["Alive"]
    )
