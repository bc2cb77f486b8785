"""A folder of one node that others receive, through Ray's object store, which spreads it from peer to peer."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, final

from eventinit.backends import ray_session
from eventinit.backends.ray_session import load_ray
from eventinit.downloads.peer_store import Chunk, Offer, Wait
from eventinit.downloads.shared_folder import SharedFolder
from eventinit.errors import PlacementError
from eventinit.threads import run_in_thread

STORE_SHARE = 0.25
"""How much of the smallest node's object store the chunks may take that are kept for receivers."""


@asynccontextmanager
async def serve_folder(node_id: str, folder: Path, runtime_env: Mapping[str, Any]) -> AsyncGenerator[object]:
    """Serve a folder from a process on the node for as long as the block lasts.

    Raises:
        PlacementError: The node is gone, or cannot run eventinit.
    """
    start = partial(_start, node_id, folder, dict(runtime_env))
    actor = await run_in_thread(start, name="start of a peer", undo=_end)
    try:
        await _ready(actor, node_id)
        yield actor
    finally:
        await run_in_thread(partial(_end, actor), name="end of a peer", even_if_cancelled=True)


@final
class RayPeer:
    """Asks the actor that shares a folder; implements the ``Peer`` of downloads."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def offer(self, wait: Wait) -> Offer:
        """Return what the actor shares."""
        offer: Offer = wait(self._actor.offer.remote().future())
        return offer

    def chunk(self, name: str, index: int, wait: Wait) -> Chunk:
        """Return a chunk from this node's object store, which pulls it from any node that has it."""
        [reference], crc = wait(self._actor.chunk.remote(name, index).future())
        return Chunk(memoryview(wait(reference.future())), crc)


class _Server:
    """The actor on the node that has the files."""

    def __init__(self, folder: Path) -> None:
        ray = load_ray()
        rooms = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        self._folder = SharedFolder(folder, _put, int(STORE_SHARE * min(rooms)))

    def offer(self) -> Offer:
        return self._folder.offer()

    def chunk(self, name: str, index: int) -> tuple[list[Any], int]:
        reference, crc = self._folder.chunk(name, index)
        # In a list, Ray passes on the reference and not the bytes.
        return [reference], crc


def _put(data: bytes) -> Any:
    # Receivers read it in place; bytes would be copied out of the object store.
    return load_ray().put(PickleBuffer(data))


def _start(node_id: str, folder: Path, runtime_env: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    actor: Any = load_ray().remote(num_cpus=0, max_restarts=0, runtime_env=runtime_env or None)(_Server)
    return actor.options(scheduling_strategy=where).remote(folder)


async def _ready(actor: Any, node_id: str) -> None:
    try:
        await actor.__ray_ready__.remote()
    except load_ray().exceptions.RayError as error:
        problem = f"node {node_id} cannot share the model's files: {type(error).__name__}: {error}"
        raise PlacementError(f"{problem}; `ray list nodes` shows which are alive") from error


def _end(actor: Any) -> None:
    if ray_session.is_running():
        load_ray().kill(actor)
