"""What a pending placement group waits for, as an event and in words."""

from collections.abc import Sequence

from eventinit.events import PlacementPending
from eventinit.phases.fitting import kinds, most_of_each, short_of, text, together, unplaced
from eventinit.ports import Bundle, Capacity, GroupPlacement, NodeCapacity

NODES_NAMED = 3
"""A cluster may have a thousand nodes; so many of them are named."""
KINDS_NAMED = 3
RESOURCES_COMPARED = 8
"""A thousand bundles may ask for a thousand resources, each that of one node."""


def describe(start_id: str, placement: GroupPlacement, capacity: Capacity, waited_s: float) -> PlacementPending:
    """Return the event that says which bundles of a group wait, for what, and what there is of it."""
    pending = [bundle for bundle, node in zip(placement.bundles, placement.node_ids, strict=True) if node is None]
    waiting, left = unplaced(pending, placement.strategy, [node.free for node in capacity.nodes])
    most = most_of_each(left)
    if placement.strategy == "STRICT_PACK" and waiting:
        lacking = [short_of(together(waiting), most)]
    else:
        lacking = [lack for bundle, count in kinds(waiting) for lack in [short_of(bundle, most)] * count]
    names = {name for bundle in lacking for name in bundle}
    wanted = sorted(names)
    nodes = [node for node in capacity.nodes if any(amount and name in names for name, amount in node.free.items())]
    nodes.sort(key=lambda node: [-node.free.get(name, 0) for name in wanted[:RESOURCES_COMPARED]])
    parts = [_what_waits(placement, len(waiting), lacking), _what_is_free(wanted, nodes), _growth(capacity)]
    return PlacementPending(
        start_id=start_id,
        bundles=len(placement.bundles),
        waiting=tuple(waiting),
        free={node.node_id: _share(wanted, node) for node in nodes[:NODES_NAMED]},
        starting=dict(capacity.starting),
        waited_s=waited_s,
        explanation="; ".join(part for part in parts if part),
    )


def _what_waits(placement: GroupPlacement, waiting: int, lacking: Sequence[Bundle]) -> str:
    if not waiting:
        return f"what is free has room for the {len(placement.bundles)} bundle(s), which Ray has yet to place"
    how_many = f"{waiting} of {len(placement.bundles)} bundle(s) wait"
    if placement.strategy == "STRICT_PACK":
        return f"{how_many} for one node with {text(lacking[0])}"
    each, *others = kinds(lacking)
    if not others:
        return f"{how_many} for {text(each[0])} each"
    named = ", ".join(f"{count} for {text(kind)}" for kind, count in (each, *others)[:KINDS_NAMED])
    return f"{how_many}: {named}" + (" and more" if len(others) >= KINDS_NAMED else "")


def _what_is_free(wanted: Sequence[str], nodes: Sequence[NodeCapacity]) -> str:
    if not wanted:
        return ""
    if not nodes:
        return f"no node has any {' or '.join(wanted)} free"
    named = ", ".join(f"{text(_share(wanted, node))} free on node {node.name}" for node in nodes[:NODES_NAMED])
    more = len(nodes) - NODES_NAMED
    return f"the cluster has {named}" + (f" and some on {more} more node(s)" if more > 0 else "")


def _growth(capacity: Capacity) -> str:
    if capacity.starting:
        count = sum(capacity.starting.values())
        return f"the autoscaler is starting {count} node(s) ({', '.join(sorted(capacity.starting))})"
    if capacity.refused:
        return "the autoscaler has no nodes to add that help, or has reached its limits"
    if capacity.autoscaler == "running":
        return "the autoscaler is starting no nodes"
    if capacity.autoscaler == "unknown":
        return "Ray has not told whether an autoscaler runs"
    return "no autoscaler runs"


def _share(wanted: Sequence[str], node: NodeCapacity) -> Bundle:
    return {name: node.free[name] for name in wanted if node.free.get(name)}
