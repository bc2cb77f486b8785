"""Placement groups of Ray: made, waited for, located and removed. All but ``wait_until_ready`` blocks."""

from collections.abc import Sequence
from typing import Any

from eventinit.backends import ray_control, ray_session
from eventinit.backends.ray_session import load_ray
from eventinit.errors import PlacementError
from eventinit.ports import Bundle, GroupPlacement, Strategy


def create(bundles: Sequence[Bundle], strategy: Strategy, name: str) -> object:
    """Ask for a group and return it at once; it ends with this process at the latest.

    Raises:
        PlacementError: Ray refuses the bundles.
    """
    try:
        return load_ray().util.placement_group([dict(b) for b in bundles], strategy=strategy, name=name)
    except Exception as error:
        subject = f"the placement group {name!r}: {type(error).__name__}: {error}"
        raise PlacementError(f"Ray refused {subject}; correct placement_group_config") from error


def locate(group: object) -> GroupPlacement:
    """Tell where a group is, be it ours or a user's own.

    Raises:
        PlacementError: It is no placement group, or was removed.
    """
    from ray.util.placement_group import PlacementGroup

    if not isinstance(group, PlacementGroup):
        raise PlacementError(
            f"{group!r:.80} is a {type(group).__name__}, not a placement group;"
            " set context.placement_group to what ray.util.placement_group() returns"
        )
    table: dict[str, Any] = load_ray().util.placement_group_table(group)
    if not table or table["state"] == "REMOVED":
        raise _gone(group)
    # Ray gives the bundles in no fixed order, and an empty node id for one that waits.
    indices = sorted(table["bundles"])
    return GroupPlacement(
        tuple(dict(table["bundles"][index]) for index in indices),
        tuple(table["bundles_to_node_id"].get(index) or None for index in indices),
        table["strategy"],
    )


async def wait_until_ready(group: Any) -> None:
    """Return when every bundle of the group is reserved; wait for as long as that takes.

    Raises:
        PlacementError: The group was removed, or Ray was lost.
    """
    ray = load_ray()
    try:
        # Needs neither a thread nor a worker process, and fails the moment the group is removed.
        await group.ready()
    except ray.exceptions.TaskPlacementGroupRemoved as error:
        raise _gone(group) from error
    except ray.exceptions.RayError as error:
        raise PlacementError(f"Ray was lost while the placement group was waited for: {error}") from error


def surrounding() -> object | None:
    """Return the group that this process runs in as an actor or task, or None."""
    from ray.util import get_current_placement_group

    return get_current_placement_group() if ray_session.is_running() else None


def remove(group: object) -> None:
    """Remove a group, ready or not; removing it twice, or after Ray has ended, is harmless."""
    if ray_session.is_running() and ray_control.answers():
        load_ray().util.remove_placement_group(group)


def _gone(group: Any) -> PlacementError:
    return PlacementError(
        f"the placement group {group.id.hex()} is not in the cluster (any more);"
        " it was removed, or belongs to another cluster: create it again and keep it until the node has ended"
    )
