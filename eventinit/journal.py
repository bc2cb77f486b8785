"""A journal of who changed what, and dicts that write themselves into it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, SupportsIndex, cast

from eventinit import clock
from eventinit.author import current_author
from eventinit.change import ABSENT, Change
from eventinit.errors import ContextSealedError
from eventinit.frozen import copied, thaw
from eventinit.redaction import HIDDEN, is_secret, redact
from eventinit.writers import LastWriters


@dataclass(slots=True)
class Journal:
    """The changes of one context, and the fields that may no longer change, each with the reason and the remedy."""

    changes: list[Change] = field(default_factory=list[Change])
    sealed: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    writers: LastWriters = field(default_factory=LastWriters)

    def guard(self, name: str) -> None:
        """Refuse a write to a sealed field, or by a handler that nobody waits for any more."""
        author = current_author.get()
        if author is not None and author.revoked:
            remedy = "end the handler sooner, or give it more time"
            raise ContextSealedError(name, f"{author.handler} was abandoned after a cancellation or timeout", remedy)
        if name in self.sealed:
            raise ContextSealedError(name, *self.sealed[name])

    def record(self, path: tuple[str, ...], old: Any, new: Any) -> None:
        """Add the change at a path (field, then keys) in the name of the handler that runs now."""
        author = current_author.get()
        handler, event = (author.handler, author.event) if author else ("code outside a handler", "no event")
        change = Change(path[0], path[1:], _shown(path, old), _shown(path, new), handler, event, clock.now())
        self.changes.append(change)
        if author is not None:
            author.changes.append(change)
        self.writers.note(path, old, change, author)

    def record_difference(self, path: tuple[str, ...], old: Any, new: Any) -> None:
        """Add what changed between two values, key by key where both are dicts."""
        if not (isinstance(old, dict) and isinstance(new, dict)):
            if not _is_same(old, new):
                self.record(path, old, new)
            return
        before, after = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        for key in [*before, *(key for key in after if key not in before)]:
            self.record_difference((*path, str(key)), before.get(key, ABSENT), after.get(key, ABSENT))


def _is_same(old: Any, new: Any) -> bool:
    if old is new:
        return True
    try:
        # True as well as 1 is a change, and so is an array, whose comparison is another array or an error.
        return type(old) is type(new) and (old == new) is True
    except Exception:  # noqa: BLE001
        return False


def _shown(path: tuple[str, ...], value: Any) -> Any:
    if value is ABSENT:
        return value
    return HIDDEN if any(map(is_secret, path)) else redact("", thaw(value))


def owned(journal: Journal, path: tuple[str, ...], value: Any) -> Any:
    """Return a value as the context keeps it at a path: a dict tracked, other containers copied all the way down."""
    if isinstance(value, Mapping):
        return TrackedDict(journal, path, cast("Mapping[str, Any]", value))
    return copied(value)


def detach(value: Any) -> None:
    """Make a dict that has left the context its holder's own: nothing that happens to it is refused or recorded."""
    if isinstance(value, TrackedDict):
        value.detach()


class TrackedDict(dict[str, Any]):
    """A dict that belongs to a field of the context: writes are refused when it is sealed, else recorded.

    A dict that is stored in it is copied and tracked as well, other containers are copied. Once it has been replaced
    or removed it is a plain dict.
    """

    __slots__ = ("_journal", "_path")

    def __init__(self, journal: Journal, path: tuple[str, ...], items: Mapping[str, Any]) -> None:
        super().__init__()
        self._journal: Journal | None = journal
        self._path = path
        for key, value in items.items():
            super().__setitem__(key, owned(journal, (*path, str(key)), value))

    def detach(self) -> None:
        """Leave the context, with every dict inside."""
        self._journal = None
        for value in self.values():
            detach(value)

    def __setitem__(self, key: str, value: Any) -> None:
        if self._journal is None:
            super().__setitem__(key, value)
            return
        self._journal.guard(self._path[0])
        old = self.get(key, ABSENT)
        if value is old:
            return
        path = (*self._path, str(key))
        new = owned(self._journal, path, value)
        super().__setitem__(key, new)
        self._journal.record_difference(path, old, new)
        detach(old)

    def __delitem__(self, key: str) -> None:
        if self._journal is not None:
            self._journal.guard(self._path[0])
        old = self[key]
        super().__delitem__(key)
        if self._journal is not None:
            self._journal.record((*self._path, str(key)), old, ABSENT)
            detach(old)

    def update(self, *others: Mapping[str, Any] | Iterable[tuple[str, Any]], **items: Any) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set many keys; each is recorded."""
        for key, value in dict(*others, **items).items():
            self[key] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, which is set first when it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Remove a key and return its value, or the default."""
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the newest item."""
        if not self:
            raise KeyError("popitem(): dictionary is empty")
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        """Remove every key; each is recorded."""
        for key in list(self):
            del self[key]

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return dict, (thaw(self),)

    def __deepcopy__(self, _memo: Any) -> dict[str, Any]:
        return cast("dict[str, Any]", thaw(self))

    def __copy__(self) -> dict[str, Any]:
        return dict(self)
