"""The placement groups of a cluster that starts have reserved."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CancelScope

from eventinit.backends.ray_cluster import RayCluster
from eventinit.backends.ray_session import load_ray
from eventinit.leftovers.leftover import Leftover
from eventinit.owner import Owner, parse_owner


@asynccontextmanager
async def cluster_groups(address: str | None) -> AsyncGenerator[list[Leftover] | None]:
    """Yield the groups of the cluster at ``address`` or ``RAY_ADDRESS``, removable while the block lasts; None without.

    It joins as a driver that asks for no resources, and never starts a Ray.

    Raises:
        PlacementError: Nothing answers there.
    """
    cluster = RayCluster()
    try:
        is_connected = await cluster.connect(address)
        yield await anyio.to_thread.run_sync(_groups) if is_connected else None
    finally:
        with CancelScope(shield=True):
            await cluster.disconnect()


def _groups() -> list[Leftover]:
    ray = load_ray()
    # Public Ray lists jobs only where its dashboard runs.
    jobs: Sequence[Mapping[str, Any]] = ray._private.state.jobs()
    table: dict[str, dict[str, Any]] = ray.util.placement_group_table()
    there = [group for group in table.values() if group["state"] != "REMOVED"]
    return [_leftover(group, owner, jobs) for group in there if (owner := parse_owner(group["name"])) is not None]


def _leftover(group: Mapping[str, Any], owner: Owner, jobs: Sequence[Mapping[str, Any]]) -> Leftover:
    bundles = len(group["bundles"])
    return Leftover(
        kind="placement group",
        name=str(group["placement_group_id"]),
        owner=owner,
        in_use=_is_alive(owner, jobs),
        note=f"{bundles} bundle{'s' if bundles > 1 else ''}, {str(group['state']).lower()}",
        remove=partial(_remove, str(group["placement_group_id"])),
    )


def _is_alive(owner: Owner, jobs: Sequence[Mapping[str, Any]]) -> bool | None:
    seen = owner.is_alive()
    if seen is not None:
        return seen
    # Another machine's process may have the same id, so one living driver of that id is reason enough to keep it.
    ended = [bool(job["IsDead"]) for job in jobs if job["DriverPid"] == owner.pid]
    return not all(ended) if ended else None


def _remove(group_id: str) -> str | None:
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup

    load_ray().util.remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group_id))))
    return None
