"""What was fetched into the Hub's cache: noted there, since whatever else lies in it belongs to others as well."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from eventinit.downloads.cache import PRIVATE, safe_path
from eventinit.downloads.cached_model import CachedFile, CachedModel, is_complete, wants
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.hub_cache import HubFile, RepositoryCache
from eventinit.downloads.manifest import FinishedMode, Manifest, Records, last_used, read_manifest
from eventinit.downloads.remote import Checksum
from eventinit.errors import UnsafeKeyError

_SHA1_DIGITS = 40


def record_fetch(cache: RepositoryCache, done: FinishedMode, *, fetched: bool) -> None:
    """Note in a repository's folder what was fetched into it, and that it is used.

    A model that others had brought, and that was only used, gets no note.
    """
    if not fetched and last_used(cache.folder) is None:
        return
    locks = FileLocks(cache.folder / PRIVATE / "locks")
    try:
        manifest = Manifest(cache.folder, locks)
        known = {(mode.mode, mode.source, mode.include, mode.exclude) for mode in manifest.refresh().modes}
        if fetched or (done.mode, done.source, done.include, done.exclude) not in known:
            manifest.finish(done)
        else:
            manifest.touch()
    finally:
        locks.close()


def hub_cache_folder() -> Path:
    """Return where the Hub's cache is."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def hub_models() -> Iterator[CachedModel]:
    """Yield each commit that was fetched into the Hub's cache and is still there."""
    for folder in sorted(hub_cache_folder().glob(f"models--*/{PRIVATE}")):
        records = read_manifest(folder.parent)
        for source in sorted({mode.source for mode in records.modes}):
            model = _look_at(folder.parent, source, records)
            if model.files:
                yield model


def _look_at(repository_folder: Path, source: str, records: Records) -> CachedModel:
    repository, _, commit = source.rpartition("@")
    cache = RepositoryCache(repository_folder.parent, repository)
    modes = [mode for mode in records.modes if mode.source == source]
    listed = [file for file in cache.listing(commit) or [] if any(wants(mode, file.name) for mode in modes)]
    files = [file for entry in listed if (file := _cached(cache, commit, entry))]
    there = {file.name: file.size for file in files if file.is_there()}
    return CachedModel(
        root="hub",
        source=source,
        folder=cache.snapshot(commit),
        files=tuple(files),
        modes=tuple(mode for mode in modes if is_complete(mode, there)),
        size=sum(there.values()),
        partial_bytes=sum(_partial_bytes(cache, entry) for entry in listed),
        fetched_at=max(mode.at for mode in modes),
        used_at=last_used(repository_folder) or 0.0,
    )


def _cached(cache: RepositoryCache, commit: str, file: HubFile) -> CachedFile | None:
    snapshot = cache.snapshot(commit)
    try:
        # Its last step is a link to the content, and the folders before it are real.
        path = safe_path(str(snapshot), snapshot, file.name)
    except UnsafeKeyError:
        return None
    if file.sha256:
        return CachedFile(file.name, path, file.size, Checksum("sha256", file.sha256), "sha256")
    if len(file.git_id) == _SHA1_DIGITS:
        known = Checksum("sha1", file.git_id)
        return CachedFile(file.name, path, file.size, known, "git id", prefix=b"blob %d\0" % file.size)
    return CachedFile(file.name, path, file.size, None, "size only")


def _partial_bytes(cache: RepositoryCache, file: HubFile) -> int:
    with suppress(OSError):
        return cache.partial(file).stat().st_size
    return 0
