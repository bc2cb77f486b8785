"""Which models this machine has: those of our own cache, and those that were fetched into the Hub's."""

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from eventinit.downloads.cache import PRIVATE, cache_root, safe_path
from eventinit.downloads.cached_model import CachedFile, CachedModel, is_complete
from eventinit.downloads.hub_inventory import hub_models
from eventinit.downloads.manifest import HeldFile, last_used, read_manifest
from eventinit.downloads.partial_file import current_boot, read_journal
from eventinit.downloads.spans import length
from eventinit.errors import ConfigError, UnsafeKeyError
from eventinit.suggestion import did_you_mean


def inventory() -> list[CachedModel]:
    """Return every model, our own cache first, the one used last at the top. It only looks, and takes no locks."""
    ours = [look_at(folder) for folder in model_folders()]
    models = [*filter(None, ours), *hub_models()]
    return sorted(models, key=lambda model: (model.root, -model.used_at))


def chosen(models: Iterable[CachedModel], words: Iterable[str]) -> list[CachedModel]:
    """Return the models that are called so, by source or path; all of them when no word is given.

    Raises:
        ConfigError: One of the words names no model.
    """
    known, words = list(models), list(words)
    for word in words:
        if not any(model.is_called(word) for model in known):
            names = {model.source for model in known}
            hint = did_you_mean(word, names) if names else "the cache is empty"
            raise ConfigError(repr(word), [f"no model in the cache has this source or path; {hint}"])
    return [model for model in known if not words or any(map(model.is_called, words))]


def kind_folders() -> Iterator[Path]:
    """Yield the folders of our cache that hold models, one for each kind of store; no links."""
    return _real_folders(cache_root())


def model_folders() -> Iterator[Path]:
    """Yield the folders of models in our cache: those with our own folder inside, and no links."""
    for kind in kind_folders():
        for folder in _real_folders(kind):
            if _is_real_folder(folder / PRIVATE) and not folder.name.startswith("."):
                yield folder


def look_at(folder: Path) -> CachedModel | None:
    """Return the model of a folder, or None when it has gone meanwhile."""
    records = read_manifest(folder)
    files = tuple(file for entry in records.files.values() if (file := held(folder, entry)))
    there = {file.name: file.size for file in files if file.is_there()}
    used_at = last_used(folder) or _changed_at(folder)
    if used_at is None:
        return None
    modes = sorted(records.modes, key=lambda mode: mode.at)
    return CachedModel(
        root="eventinit",
        source=records.source or f"{folder.parent.name}/{folder.name}",
        folder=folder,
        files=files,
        modes=tuple(mode for mode in modes if is_complete(mode, there)),
        size=sum(there.values()),
        partial_bytes=_partial_bytes(folder),
        fetched_at=modes[-1].at if modes else None,
        used_at=used_at,
    )


def held(folder: Path, entry: HeldFile) -> CachedFile | None:
    """Return a file that a manifest tells of, unless its name would lead out of the folder."""
    try:
        path = safe_path(str(folder), folder, entry.name)
    except UnsafeKeyError:
        return None
    return CachedFile(entry.name, path, entry.size, entry.checksum, entry.verified, mtime_ns=entry.mtime_ns)


def _partial_bytes(folder: Path) -> int:
    """Return how many bytes can be resumed."""
    boot_id, total = current_boot(), 0
    for path in (folder / PRIVATE / "partial").glob("*.journal"):
        journal = read_journal(path)
        data = path.with_suffix("")
        if data.is_file():
            total += min(length(journal.present(boot_id)), data.stat().st_size)
    return total


def _changed_at(folder: Path) -> float | None:
    """Return when something last changed in a folder without a manifest."""
    try:
        paths = [folder, *(folder / PRIVATE / "partial").glob("*")]
        return max(path.stat().st_mtime for path in paths)
    except FileNotFoundError:
        return None


def _real_folders(parent: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in parent.iterdir() if _is_real_folder(path))
    except (FileNotFoundError, NotADirectoryError):
        return


def _is_real_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
