"""Sets of byte ranges of a file."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

Span = tuple[int, int]
"""The bytes from the first number up to the second."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same bytes as few spans in order."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        elif end > start:
            result.append((start, end))
    return result


def gaps(spans: Iterable[Span], size: int) -> list[Span]:
    """Return the bytes of a file that are in none of the spans."""
    edges = [(0, 0), *merged(spans), (size, size)]
    return [(end, start) for (_, end), (start, _) in pairwise(edges) if start > end]


def length(spans: Iterable[Span]) -> int:
    """Return how many bytes the spans have in all."""
    return sum(end - start for start, end in merged(spans))


def split(spans: Iterable[Span], most: int) -> Iterator[Span]:
    """Yield the same bytes in spans that cross no multiple of ``most``."""
    for start, end in spans:
        at = start
        while at < end:
            stop = min(end, (at // most + 1) * most)
            yield at, stop
            at = stop
