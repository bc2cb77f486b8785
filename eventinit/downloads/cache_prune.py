"""Take models out of our cache, so that neither a running fetch nor a kill midway leaves half of one."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from eventinit.downloads.cache import PRIVATE, cache_root
from eventinit.downloads.cache_inventory import kind_folders
from eventinit.downloads.cached_model import CachedModel
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.partial_file import read_journal
from eventinit.errors import DownloadError

_ASIDE = ".removed-"

_Work = Callable[[Path, FileLocks, bool], int]
"""Removes something of a folder that nobody else uses, or only says how many bytes that would be."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of it for one model: how many bytes are free now, or why nothing was removed."""

    model: CachedModel
    freed_bytes: int
    kept_because: str | None = None


def remove_model(model: CachedModel, *, dry_run: bool = False) -> Removal:
    """Remove a model with everything that belongs to it, unless somebody is fetching it.

    The folder gets another name first, in one step: whoever comes next fetches the model anew, and what a kill leaves
    of the removal is removed by ``remove_leftovers``.

    Raises:
        DownloadError: The disk refuses.
    """
    return _remove(model, _remove_folder, dry_run=dry_run)


def remove_partials(model: CachedModel, *, dry_run: bool = False) -> Removal:
    """Remove what unfinished downloads of a model have left, unless somebody is fetching it.

    Raises:
        DownloadError: The disk refuses.
    """
    return _remove(model, _remove_partials, dry_run=dry_run)


def remove_leftovers(*, dry_run: bool = False) -> int:
    """Remove what removals have left that were killed midway, and return how many bytes that was."""
    left = [folder for kind in kind_folders() for folder in kind.glob(f"{_ASIDE}*") if not folder.is_symlink()]
    size = sum(_bytes_in(_files_in(folder)) for folder in left)
    for folder in () if dry_run else left:
        _delete(folder)
    return size


def _remove(model: CachedModel, work: _Work, *, dry_run: bool) -> Removal:
    if model.root == "hub":
        repository = model.source.rpartition("@")[0]
        return Removal(model, 0, f"it is in the Hub's cache, which others use too; run: hf cache rm model/{repository}")
    try:
        if not (model.folder / PRIVATE).is_dir():
            return Removal(model, 0, "it has gone already")
        locks = FileLocks(model.folder / PRIVATE / "locks")
        try:
            if not locks.try_alone():
                return Removal(model, 0, "it is in use by a running fetch")
            return Removal(model, work(model.folder, locks, dry_run))
        finally:
            locks.close()
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        reason = error.strerror or type(error).__name__
        raise DownloadError(model.source, f"cannot remove {model.folder}: {reason}; make it writable") from error


def _remove_folder(folder: Path, locks: FileLocks, dry_run: bool) -> int:  # noqa: FBT001
    size = _bytes_in(_files_in(folder))
    if not dry_run:
        aside = folder.with_name(f"{_ASIDE}{folder.name}-{uuid4().hex[:8]}")
        folder.rename(aside)
        locks.close()  # whoever waits to fetch the model need not wait for the rest
        _delete(aside)
    return size


def _remove_partials(folder: Path, locks: FileLocks, dry_run: bool) -> int:  # noqa: FBT001
    paths = list(_partials_in(folder))
    size = _bytes_in(paths)
    # The bytes before their journal: a journal alone promises nothing.
    for path in () if dry_run else sorted(paths, key=lambda path: path.suffix == ".journal"):
        path.unlink(missing_ok=True)
    if not dry_run and all(path.is_relative_to(folder / PRIVATE) for path in _files_in(folder)):
        _remove_folder(folder, locks, dry_run)
    return size


def _partials_in(folder: Path) -> Iterator[Path]:
    partial = folder / PRIVATE / "partial"
    for path in partial.glob("*"):
        data = partial / path.stem
        # A journal without its bytes may be the only record of a file that got its name just before a kill.
        if path.suffix == ".journal" and not data.exists() and read_journal(path).complete:
            continue
        yield path


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _bytes_in(paths: Iterable[Path]) -> int:
    """Return what files take of the disk: a partial file has holes."""
    total = 0
    for path in paths:
        try:
            there = path.lstat()
        except FileNotFoundError:
            continue
        total += min(there.st_size, there.st_blocks * 512)
    return total


def _delete(folder: Path) -> None:
    """Remove a folder; links in it are removed and not followed."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise DownloadError(str(cache_root()), f"cannot remove all of {folder}; make it writable and prune again")
