"""Numbers and tables for people."""

from collections.abc import Sequence

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_STEPS = ((86400, "d"), (3600, "h"), (60, "min"))


def bytes_text(count: int) -> str:
    """Return a number of bytes for people."""
    step, unit = next(((step, unit) for step, unit in _UNITS if count >= step), (1, "B"))
    return f"{count} B" if step == 1 else f"{count / step:.1f} {unit}"


def age_text(seconds: float) -> str:
    """Return an age for people."""
    return next((f"{seconds // step:.0f} {unit}" for step, unit in _STEPS if seconds >= step), "now")


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with their cells below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
