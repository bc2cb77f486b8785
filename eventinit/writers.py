"""Who wrote each key last, so that a handler which overrides another does not go unnoticed."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from eventinit.author import Author
from eventinit.change import ABSENT, Change, Override
from eventinit.logs import log_event

Path = tuple[str, ...]
Write = tuple[Author | None, Change]


@final
class _Branch:
    """The last write of one path, if there is one that counts, and the branches of the keys below."""

    __slots__ = ("below", "write")

    def __init__(self) -> None:
        self.write: Write | None = None
        self.below: dict[str, _Branch] = {}

    def cut_below(self, path: Path) -> Iterator[tuple[Path, Write]]:
        """Forget what is below, the branch being that of ``path``; yield the path and the write of each."""
        below, self.below = self.below, {}
        # In a copy, since a handler may write in another thread meanwhile.
        for key, branch in list(below.items()):
            if branch.write is not None:
                yield (*path, key), branch.write
            yield from branch.cut_below((*path, key))


@final
class LastWriters:
    """The last write of each key of one context, and the overrides that came of them.

    What stands below a path that is replaced is forgotten, so the deepest entry on the way to a key is the newest. The
    writes are kept as a tree, so that what is replaced is found without a look at all the others.
    """

    __slots__ = ("_root", "_warned", "overrides")

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self.overrides = list(overrides)
        self._root = _Branch()
        self._warned: set[tuple[str, str, str]] = set()

    def note(self, path: Path, old: Any, change: Change, author: Author | None) -> None:
        """Take down a change at a path where ``old`` was, and warn once when it overrides another handler's.

        ``author`` is None for code outside a handler, which competes with nobody, and neither does the start itself.
        """
        write = (author if author is not None and author.competes else None, change)
        branch, around = self._find(path)
        # A key that was not there was not written by whoever wrote the dict around it.
        before = branch.write or (None if old is ABSENT else around)
        if before is not None:
            self._compare(path, before, write)
        if isinstance(old, dict):
            for other, gone in branch.cut_below(path):
                if gone[1].new is not ABSENT:
                    self._compare(other, gone, write)
        branch.write = write

    def _find(self, path: Path) -> tuple[_Branch, Write | None]:
        """Return the branch of a path, and the last write of the nearest dict around its key."""
        branch, around = self._root, None
        for key in path:
            around = branch.write or around
            branch = branch.below.setdefault(key, _Branch())
        return branch, around

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
