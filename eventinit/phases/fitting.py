"""Whether bundles fit what nodes have, and which of them do not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from eventinit.phases.room import Amounts, Room, fits
from eventinit.ports import ACCELERATOR_TYPE, Bundle, ClusterNode, NodeCapacity, Strategy

MOST_CANDIDATES = 64


def why_never_placed(bundles: Sequence[Bundle], strategy: Strategy, nodes: Sequence[Amounts]) -> str | None:
    """Return why these nodes can never hold the bundles, even when they are idle, or None when they may.

    Checks each kind of bundle by itself and all of them together, which leaves mixed bundles that would need the
    nodes' room divided in several ways at once; these may be taken for placeable.

    Args:
        bundles: What is to be placed.
        strategy: How it is to be spread.
        nodes: What each node has in all.
    """
    if strategy == "STRICT_SPREAD" and len(bundles) > len(nodes):
        return f"STRICT_SPREAD needs {len(bundles)} nodes and the cluster has {len(nodes)}"
    where = Room(nodes)
    for part, count in kinds([together(bundles)] if strategy == "STRICT_PACK" else bundles):
        room = where.times(part, at_most=1 if strategy == "STRICT_SPREAD" else count)
        if not room:
            return f"no node has {text(part)} ({_what_there_is(part, nodes)})"
        if room < count:
            return f"{count} bundles ask for {text(part)} each and the nodes have room for {room}"
    total, there = together(bundles), together(nodes)
    if not fits(total, there):
        return f"together they need {text(total)} and the cluster has {text(_only(total, there))}"
    return None


def unplaced(
    bundles: Sequence[Bundle], strategy: Strategy, free: Sequence[Amounts]
) -> tuple[list[Bundle], Sequence[Amounts]]:
    """Place the largest bundles first; return those that there is no room for, and what the others leave free."""
    if strategy == "STRICT_PACK":
        whole = together(bundles)
        return [] if any(fits(whole, node) for node in free) else list(bundles), free
    waiting: list[Bundle] = []
    room = Room(free)
    for bundle, count in sorted(kinds(bundles), key=lambda kind: sum(kind[0].values()), reverse=True):
        waiting += [bundle] * room.place(bundle, count, alone=strategy == "STRICT_SPREAD")
    return waiting, room.nodes


def candidates(
    bundles: Sequence[Bundle], capacity: Sequence[NodeCapacity], nodes: Sequence[ClusterNode]
) -> list[ClusterNode]:
    """Return the other nodes with room for a bundle in what is free, or 64 of them: a cluster may have a thousand."""
    room = Room([node.free for node in capacity])
    roomy = {capacity[index].node_id for bundle, _ in kinds(bundles) for index in room.holders(bundle)}
    return [node for node in nodes if node.node_id in roomy and not node.is_local][:MOST_CANDIDATES]


def short_of(bundle: Bundle, most: Amounts) -> Bundle:
    """Return the resources that no node has enough of; all of the bundle's when only their combination is missing.

    Args:
        bundle: What there is no room for.
        most: The most that a node has of each resource.
    """
    return {name: amount for name, amount in bundle.items() if not fits({name: amount}, most)} or bundle


def most_of_each(nodes: Iterable[Amounts]) -> Bundle:
    """Return the most that a node has of each resource."""
    most: Bundle = {}
    for node in nodes:
        for name, amount in node.items():
            most[name] = max(amount, most.get(name, 0))
    return most


def kinds(bundles: Iterable[Bundle]) -> Iterator[tuple[Bundle, int]]:
    """Yield each kind of bundle with how many there are of it."""
    for items, count in Counter(tuple(sorted(bundle.items())) for bundle in bundles).items():
        yield dict(items), count


def text(amounts: Amounts) -> str:
    """Return amounts as people read them, such as ``CPU: 1, GPU: 2``."""
    return ", ".join(f"{name}: {amount:g}" for name, amount in amounts.items())


def together(bundles: Sequence[Amounts]) -> Bundle:
    """Return what bundles ask for in all."""
    total: Bundle = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            total[name] = total.get(name, 0) + amount
    return dict(sorted(total.items()))


def _only(wanted: Amounts, amounts: Amounts) -> Bundle:
    return {name: amounts.get(name, 0) for name in wanted}


def _what_there_is(bundle: Amounts, nodes: Sequence[Amounts]) -> str:
    largest = _only(bundle, most_of_each(nodes))
    if any(name.startswith(ACCELERATOR_TYPE) and not amount for name, amount in largest.items()):
        types = {name.removeprefix(ACCELERATOR_TYPE) for node in nodes for name in node if ACCELERATOR_TYPE in name}
        return f"the accelerator types there are: {', '.join(sorted(types)) or 'none'}"
    return f"the largest has {text(largest)}"
