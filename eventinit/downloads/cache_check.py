"""Whether the files of a cached model are still what was recorded when they were fetched."""

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, final

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.cache_inventory import held
from eventinit.downloads.cached_model import CachedFile, CachedModel
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.hub_cache import RepositoryCache
from eventinit.downloads.manifest import Manifest
from eventinit.downloads.verification import can_check, digest, pieces_of, safetensors_problem
from eventinit.errors import DownloadError


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What a check has found.

    Attributes:
        model: What was checked.
        damaged: For each file that is not what it should be what is wrong with it.
        busy: Files that look wrong, and that somebody fetches at this moment.
        compared: How many files were compared by what: a checksum, or ``size`` alone.
    """

    model: CachedModel
    damaged: Mapping[str, str]
    busy: tuple[str, ...]
    compared: Mapping[str, int]


class _Folder(Protocol):
    """A model's folder as its fetches share it."""

    @contextmanager
    def holding(self, file: CachedFile) -> Generator[bool]:
        """Keep others from fetching a file in the block; yields False when somebody does already."""
        ...

    def now(self, file: CachedFile) -> CachedFile | None:
        """Return what is recorded of the file by now."""
        ...

    def forget(self, file: CachedFile) -> None:
        """Remove the file, so that the next fetch brings it again."""
        ...


def check_model(model: CachedModel, *, repair: bool, hashed: Callable[[int], None]) -> CheckedModel:
    """Read every file of a model and compare it with its record; ``hashed`` is told how many bytes were read.

    Args:
        model: Which one.
        repair: Remove what is damaged and forget it, so that the next start fetches it again.
        hashed: Called with the bytes of each piece.

    Raises:
        DownloadError: The folder cannot be written to, and there is something to repair.
    """
    damaged: dict[str, str] = {}
    busy: list[str] = []
    with _opened(model) as folder:
        for file in model.files:
            problem = _problem(file, hashed)
            if problem is None:
                continue
            with folder.holding(file) as is_ours:
                if not is_ours:
                    busy.append(file.name)
                    continue
                # Somebody may have replaced it, and its record, while it was read.
                now = folder.now(file)
                if now and now != file:
                    problem = _problem(now, hashed)
                if now and problem:
                    damaged[file.name] = problem
                    _forget(folder, model, now, repair=repair)
    return CheckedModel(model, damaged, tuple(busy), Counter(map(compared_by, model.files)))


def compared_by(file: CachedFile) -> str:
    """Return what a file is compared by: the name of a checksum, or ``size``."""
    if file.checksum is None or not can_check(file.checksum.algorithm):
        return "size"
    if file.prefix:
        return file.verified
    own = " computed when it was fetched" if file.verified == "size only" else ""
    return f"{file.checksum.algorithm}{own}"


def _forget(folder: _Folder, model: CachedModel, file: CachedFile, *, repair: bool) -> None:
    if not repair:
        return
    try:
        folder.forget(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DownloadError(model.source, f"cannot remove {file.path}: {reason}; make it writable") from error


def _problem(file: CachedFile, hashed: Callable[[int], None]) -> str | None:
    try:
        there = file.path.stat()
        if not file.path.is_file():
            return "is no file"
        if there.st_size != file.size:
            return f"has {there.st_size} bytes instead of {file.size}"
        return _wrong_content(file, there.st_mtime_ns, hashed)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or type(error).__name__}"


def _wrong_content(file: CachedFile, mtime_ns: int, hashed: Callable[[int], None]) -> str | None:
    expected = file.checksum
    if expected is None or not can_check(expected.algorithm):
        if file.mtime_ns not in {None, mtime_ns}:
            return "was changed after it was fetched, and there is no checksum to compare it with"
        return safetensors_problem(file.path) if file.name.endswith(".safetensors") else None
    pieces = _counted(pieces_of(file.path), hashed)
    actual = digest(chain([file.prefix], pieces), expected.algorithm)
    if actual == expected:
        return None
    name = "git id" if file.prefix else expected.algorithm
    return f"has the {name} {actual.value} instead of {expected.value}"


def _counted(pieces: Iterator[memoryview], hashed: Callable[[int], None]) -> Iterator[memoryview]:
    for piece in pieces:
        yield piece
        hashed(piece.nbytes)


@contextmanager
def _opened(model: CachedModel) -> Generator[_Folder]:
    if model.root == "hub":
        yield _HubFolder(model)
        return
    locks = None
    with suppress(OSError):  # a cache that may only be read can be checked all the same
        locks = FileLocks(model.folder / PRIVATE / "locks")
    with closing(locks) if locks else nullcontext():
        yield _StoreFolder(model.folder, locks)


@final
class _StoreFolder:
    def __init__(self, folder: Path, locks: FileLocks | None) -> None:
        self._folder = folder
        self._locks = locks
        self._manifest = Manifest(folder, locks)

    @contextmanager
    def holding(self, file: CachedFile) -> Generator[bool]:
        if self._locks is None:
            yield True
        elif self._locks.try_acquire(file.name):
            try:
                yield True
            finally:
                self._locks.release(file.name)
        else:
            yield False

    def now(self, file: CachedFile) -> CachedFile | None:
        entry = self._manifest.refresh().files.get(file.name)
        return held(self._folder, entry) if entry else None

    def forget(self, file: CachedFile) -> None:
        file.path.unlink(missing_ok=True)
        self._manifest.forget([file.name])


@final
class _HubFolder:
    def __init__(self, model: CachedModel) -> None:
        repository, _, self._commit = model.source.rpartition("@")
        self._cache = RepositoryCache(model.folder.parents[2], repository)
        self._listed = {file.name: file for file in self._cache.listing(self._commit) or []}

    @contextmanager
    def holding(self, file: CachedFile) -> Generator[bool]:
        try:
            lock = os.open(self._cache.lock(self._listed[file.name]), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:  # nobody can fetch into it either
            yield True
            return
        try:
            yield _try_flock(lock)
        finally:
            os.close(lock)

    def now(self, file: CachedFile) -> CachedFile | None:
        return file

    def forget(self, file: CachedFile) -> None:
        self._cache.forget(self._commit, self._listed[file.name])


def _try_flock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
