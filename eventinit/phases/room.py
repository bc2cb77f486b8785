"""What nodes have room for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import final

from eventinit.ports import Bundle

Amounts = Mapping[str, float]

EXACTNESS = 1e-6
"""Sums of fractions such as 0.1 may miss a round number by this much; Ray itself counts in steps of 0.0001."""


@final
class Room:
    """The amounts of many nodes, for many kinds of bundles.

    A thousand bundles may each name a node of their own, by the resource ``node:<address>``: a bundle is looked for on
    those nodes only that have the rarest of what it asks for.

    Attributes:
        nodes: What there is on each node.
    """

    def __init__(self, nodes: Sequence[Amounts]) -> None:
        self.nodes = list(nodes)
        self._having: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in node:
                self._having.setdefault(name, []).append(index)

    def holders(self, bundle: Bundle) -> Iterator[int]:
        """Yield the places of the nodes with room for a bundle."""
        return (index for index in self._where(bundle) if fits(bundle, self.nodes[index]))

    def times(self, bundle: Bundle, *, at_most: int) -> int:
        """Return how many such bundles there is room for, with no more than ``at_most`` on each node."""
        return sum(_times(bundle, self.nodes[index], at_most=at_most) for index in self._where(bundle))

    def place(self, bundle: Bundle, count: int, *, alone: bool) -> int:
        """Place bundles that are alike, and return for how many there is no room.

        Args:
            bundle: One of them.
            count: How many there are.
            alone: Whether each needs a node to itself.
        """
        for index in self._where(bundle):
            if not count:
                break
            node = self.nodes[index]
            placed = _times(bundle, node, at_most=1 if alone else count)
            if placed:
                self.nodes[index] = {} if alone else _less(node, bundle, placed)
            count -= placed
        return count

    def _where(self, bundle: Bundle) -> Sequence[int]:
        return min((self._having.get(name, []) for name in bundle), key=len)


def fits(bundle: Amounts, node: Amounts) -> bool:
    """Return whether a node has what a bundle asks for."""
    return all(node.get(name, 0) >= amount - EXACTNESS for name, amount in bundle.items())


def _times(bundle: Bundle, node: Amounts, *, at_most: int) -> int:
    """Return how many such bundles a node has room for."""
    room = (int((node.get(name, 0) + EXACTNESS) / amount) for name, amount in bundle.items())
    return min(at_most, *room)


def _less(node: Amounts, bundle: Bundle, times: int) -> Amounts:
    return {name: amount - times * bundle.get(name, 0) for name, amount in node.items()}
