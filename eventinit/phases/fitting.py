"""Whether bundles fit what nodes have, and which of them do not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from eventinit.ports import ACCELERATOR_TYPE, Bundle, ClusterNode, NodeCapacity, Strategy

Amounts = Mapping[str, float]

MOST_CANDIDATES = 64
EXACTNESS = 1e-6
"""Sums of fractions such as 0.1 may miss a round number by this much; Ray itself counts in steps of 0.0001."""


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
    for part, count in kinds([together(bundles)] if strategy == "STRICT_PACK" else bundles):
        room = sum(_times(part, node, at_most=1 if strategy == "STRICT_SPREAD" else count) for node in nodes)
        if not room:
            return f"no node has {text(part)} ({_what_there_is(part, nodes)})"
        if room < count:
            return f"{count} bundles ask for {text(part)} each and the nodes have room for {room}"
    total, there = together(bundles), together(nodes)
    if not _fits(total, there):
        return f"together they need {text(total)} and the cluster has {text(_only(total, there))}"
    return None


def unplaced(
    bundles: Sequence[Bundle], strategy: Strategy, free: Sequence[Amounts]
) -> tuple[list[Bundle], Sequence[Amounts]]:
    """Place the largest bundles first; return those that there is no room for, and what the others leave free."""
    if strategy == "STRICT_PACK":
        whole = together(bundles)
        return [] if any(_fits(whole, node) for node in free) else list(bundles), free
    waiting: list[Bundle] = []
    for bundle, count in sorted(kinds(bundles), key=lambda kind: sum(kind[0].values()), reverse=True):
        lacking, free = _place(bundle, count, free, alone=strategy == "STRICT_SPREAD")
        waiting += [bundle] * lacking
    return waiting, free


def _place(bundle: Bundle, count: int, free: Sequence[Amounts], *, alone: bool) -> tuple[int, Sequence[Amounts]]:
    """Place bundles that are alike; return for how many there is no room, and what the others leave free.

    Args:
        bundle: One of them.
        count: How many there are.
        free: What is free on each node.
        alone: Whether each needs a node to itself.
    """
    left: list[Amounts] = []
    for node in free:
        placed = _times(bundle, node, at_most=min(count, 1) if alone else count)
        count -= placed
        if not placed:
            left.append(node)
        elif not alone:
            left.append({name: amount - placed * bundle.get(name, 0) for name, amount in node.items()})
    return count, left


def candidates(
    bundles: Sequence[Bundle], capacity: Sequence[NodeCapacity], nodes: Sequence[ClusterNode]
) -> list[ClusterNode]:
    """Return the other nodes with room for a bundle in what is free, or 64 of them: a cluster may have a thousand."""
    alike = [bundle for bundle, _ in kinds(bundles)]
    roomy = {node.node_id for node in capacity if any(_fits(bundle, node.free) for bundle in alike)}
    return [node for node in nodes if node.node_id in roomy and not node.is_local][:MOST_CANDIDATES]


def short_of(bundle: Bundle, free: Sequence[Amounts]) -> Bundle:
    """Return the resources that no node has enough of; all of the bundle's when only their combination is missing."""
    short = {name: amount for name, amount in bundle.items() if not any(_fits({name: amount}, n) for n in free)}
    return short or bundle


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


def _fits(bundle: Amounts, node: Amounts) -> bool:
    return all(node.get(name, 0) >= amount - EXACTNESS for name, amount in bundle.items())


def _times(bundle: Bundle, node: Amounts, *, at_most: int) -> int:
    """Return how many such bundles a node has room for."""
    room = (int((node.get(name, 0) + EXACTNESS) / amount) for name, amount in bundle.items())
    return min(at_most, *room)


def _only(wanted: Amounts, amounts: Amounts) -> Bundle:
    return {name: amounts.get(name, 0) for name in wanted}


def _what_there_is(bundle: Amounts, nodes: Sequence[Amounts]) -> str:
    largest = {name: max((node.get(name, 0) for node in nodes), default=0) for name in bundle}
    if any(name.startswith(ACCELERATOR_TYPE) and not amount for name, amount in largest.items()):
        types = {name.removeprefix(ACCELERATOR_TYPE) for node in nodes for name in node if ACCELERATOR_TYPE in name}
        return f"the accelerator types there are: {', '.join(sorted(types)) or 'none'}"
    return f"the largest has {text(largest)}"
