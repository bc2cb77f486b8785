"""The right name nearest to a misspelt one."""

from collections.abc import Iterable
from difflib import get_close_matches

SHOWN = 20
"""How many names an error lists at most."""


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the most similar of ``names``, or None when none is similar enough (``cutoff`` from 0 to 1)."""
    return next(iter(get_close_matches(name, list(names), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest right one, or all of them."""
    known = sorted(names)
    best = nearest(name, known)
    if best:
        return f"did you mean {best!r}?"
    more = ", …" if len(known) > SHOWN else ""
    return f"known are {', '.join(known[:SHOWN])}{more}"
