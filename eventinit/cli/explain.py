"""Who changed what during a start, as ``eventinit run --explain`` tells it."""

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any, final

from eventinit.change import ABSENT, Change, Override
from eventinit.context import NodeInitializationContext
from eventinit.events import LifecycleEvent, PhaseFailed, PostEvent

VALUE_WIDTH = 60


@final
class Explanation:
    """Collects from the events of one start what there is to explain.

    Args:
        began: When the start began, in seconds since the epoch.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._context: NodeInitializationContext | None = None
        self._vetoes: list[tuple[str, str]] = []

    def note(self, event: LifecycleEvent) -> None:
        """Take the context from the first event, and the vetoes from the events that end a phase."""
        self._context = self._context or event.context
        if isinstance(event, PostEvent):
            self._vetoes += ((event.phase or "", reason) for reason in event.outcome.reasons)
        if isinstance(event, PhaseFailed):
            self._vetoes += ((event.failed_phase, reason) for reason in event.reasons)

    def text(self) -> str:
        """Return what has been changed, overridden and vetoed so far."""
        if self._context is None:
            return explain((), (), (), self._began)
        return explain(self._context.changes, self._context.overrides, self._vetoes, self._began)


def explain(
    changes: Sequence[Change], overrides: Sequence[Override], vetoes: Sequence[tuple[str, str]], began: float
) -> str:
    """Return as text who changed what, what of it was overridden, and every veto.

    Args:
        changes: The changes of a context, oldest first.
        overrides: Those that took the place of another handler's.
        vetoes: For each veto its phase, and its handler with the reason.
        began: When the start began, in seconds since the epoch; times count from there.
    """
    lines = ["who changed what:", *_columns(changes, began)] if changes else ["nothing in the context was changed"]
    if overrides:
        lines += ["overridden:", *_overridden(overrides)]
    if vetoes:
        lines += ["vetoes:", *(f"  {phase}: {reason}" for phase, reason in vetoes)]
    return "\n".join(lines)


def _columns(changes: Sequence[Change], began: float) -> Iterable[str]:
    told = [f"{_shown(change.old)} -> {_shown(change.new)}" for change in changes]
    path_width = max(len(change.path) for change in changes)
    told_width = min(VALUE_WIDTH, max(map(len, told)))
    for change, values in zip(changes, told, strict=True):
        yield f"{change.at - began:7.2f} s  {change.path:<{path_width}}  {values:<{told_width}}  {_who(change)}"


def _overridden(overrides: Sequence[Override]) -> Iterable[str]:
    """Yield a line for each key: who wrote it one after another, and whose value stands."""
    writes: dict[str, list[Change]] = {}
    for override in overrides:
        chain = writes.setdefault(override.path, [])
        # A handler that wrote the key several times in a row stands there once.
        if not chain or _who(chain[-1]) != _who(override.first):
            chain.append(override.first)
        chain.append(override.then)
    for path, chain in writes.items():
        steps = ", then ".join(f"{_verb(change)} by {_who(change)}" for change in chain)
        what = "removal" if chain[-1].new is ABSENT else "value"
        yield f"  {path}: {steps}: {chain[-1].handler}'s {what} stands"


def _verb(change: Change) -> str:
    return "removed" if change.new is ABSENT else "set"


def _who(change: Change) -> str:
    return f"{change.handler} on {change.event}"


def _shown(value: Any) -> str:
    """Return a value on one line, shortened, whatever its class makes of ``repr``."""
    text = " ".join(_short.repr(value).split())
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = VALUE_WIDTH
