"""Who wrote each key last, so that a handler which overrides another does not go unnoticed."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, final

from eventinit.author import Author
from eventinit.change import ABSENT, Change, Override
from eventinit.logs import log_event

Path = tuple[str, ...]
Write = tuple[Author | None, Change]


@final
class LastWriters:
    """The last write of each key of one context, and the overrides that came of them.

    What stands below a path that is replaced is forgotten, so the deepest entry on the way to a key is the newest.
    """

    __slots__ = ("_last", "_warned", "overrides")

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self.overrides = list(overrides)
        self._last: dict[Path, Write] = {}
        self._warned: set[tuple[str, str, str]] = set()

    def note(self, path: Path, old: Any, change: Change, author: Author | None) -> None:
        """Take down a change at a path where ``old`` was, and warn once when it overrides another handler's.

        ``author`` is None for code outside a handler, which competes with nobody, and neither does the start itself.
        """
        write = (author if author is not None and author.competes else None, change)
        before = self._standing(path, old)
        if before is not None:
            self._compare(path, before, write)
        if isinstance(old, dict):
            self._take_over_below(path, write)
        self._last[path] = write

    def _standing(self, path: Path, old: Any) -> Write | None:
        """Return the last write of the key itself or, if the key was there, of the nearest dict around it."""
        if path in self._last or old is ABSENT:
            return self._last.get(path)
        ways_up = (path[:length] for length in range(len(path) - 1, 0, -1))
        return next((self._last[way] for way in ways_up if way in self._last), None)

    def _take_over_below(self, path: Path, write: Write) -> None:
        # In a copy, since a handler may write in another thread meanwhile.
        for other in list(self._last):
            if len(other) > len(path) and other[: len(path)] == path:
                gone = self._last.pop(other, None)
                if gone is not None and gone[1].new is not ABSENT:
                    self._compare(other, gone, write)

    def _compare(self, path: Path, before: Write, write: Write) -> None:
        (writer, first), (author, then) = before, write
        if writer is None or author is None or writer.is_same_writer(author):
            return
        override = Override(".".join(path), first, then)
        self.overrides.append(override)
        pair = (override.path, first.handler, then.handler)
        if pair not in self._warned:
            self._warned.add(pair)
            _warn(override)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Leave the authors out of a copy: they hold the objects of the handlers, whatever these are."""
        return LastWriters, (self.overrides,)


def _warn(override: Override) -> None:
    # Without the values, which may be secrets.
    first, then = override.first, override.then
    log_event(
        logging.WARNING,
        "handlers_write_the_same_key",
        key=override.path,
        first=f"{first.handler} on {first.event}",
        then_by=f"{then.handler} on {then.event}",
        winner=then.handler,
    )
