"""One file of the Hub: fetched with huggingface_hub's transfer, checked, and only then shown in its cache.

huggingface_hub itself neither continues a file that another process has left unfinished nor hashes what it has fetched.
This blocks, and belongs into the process that ``hub_child`` runs.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, final

from eventinit.downloads.hub_cache import HubFile, RepositoryCache
from eventinit.downloads.hub_pace import Pace
from eventinit.downloads.hub_xet import XetFailedError, is_in_xet, xet_pieces
from eventinit.downloads.reading import LONGEST_BACKOFF_S, backoff_s
from eventinit.downloads.verification import safetensors_problem
from eventinit.errors import IntegrityError
from eventinit.ports import DownloadSettings

_PIECE = 1024 * 1024
_BUSY = {408, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Repository:
    """Which commit of which repository is fetched, and where to."""

    name: str
    commit: str
    source: str
    endpoint: str | None
    cache: RepositoryCache
    settings: DownloadSettings
    pace: Pace


@final
@dataclass(slots=True)
class FileFetch:
    """One file on its way."""

    repository: Repository
    file: HubFile
    hashed: Callable[[int], None] = field(repr=False)
    without_xet: bool = False

    def run(self) -> None:
        """Bring the file into the cache, whole and checked; what another process fetches is waited for."""
        cache, commit = self.repository.cache, self.repository.commit
        if self.repository.settings.verify == "size" and cache.holds(commit, self.file):
            return
        lock = cache.lock(self.file)
        lock.parent.mkdir(parents=True, exist_ok=True)
        cache.blob(self.file).parent.mkdir(parents=True, exist_ok=True)
        with _transfers().WeakFileLock(lock):
            self._complete()
            cache.link(commit, self.file)

    def _complete(self) -> None:
        """Have the blob: the one that is there if it is right, else a fetched one; damage is fetched once more."""
        if self._is_there():
            return
        self._fetch()
        if self._problem(self.repository.cache.partial(self.file)) is not None:
            self.repository.cache.partial(self.file).unlink()
            self._fetch()
        partial = self.repository.cache.partial(self.file)
        if problem := self._problem(partial):
            partial.unlink()
            raise IntegrityError(self.repository.source, self.file.name, *problem)
        partial.replace(self.repository.cache.blob(self.file))

    def _is_there(self) -> bool:
        blob = self.repository.cache.blob(self.file)
        if not blob.exists():
            return self._adopt_copy()
        has_size = blob.stat().st_size == self.file.size
        if has_size and (self.repository.settings.verify == "size" or self._problem(blob) is None):
            return True
        self.repository.cache.forget(self.repository.commit, self.file)
        return False

    def _adopt_copy(self) -> bool:
        """Where the file system has no links the file itself lies in the snapshot; check that one."""
        copy = self.repository.cache.snapshot(self.repository.commit) / self.file.name
        if copy.is_symlink() or not copy.is_file() or self._problem(copy) is not None:
            return False
        copy.replace(self.repository.cache.blob(self.file))
        return True

    def _fetch(self) -> None:
        """Bring all bytes, over cuts and refusals that pass; attempts count anew whenever bytes have come."""
        partial = self.repository.cache.partial(self.file)
        tries, had = 0, _size(partial)
        while True:
            try:
                self._transfer(partial)
            except Exception as error:
                size = _size(partial)
                tries, had = (1 if had < size < self.file.size else tries + 1), size
                if size >= self.file.size > 0:
                    return  # what came is whole or damaged; whoever checks it finds out
                if tries >= self.repository.settings.attempts or not _passes(error):
                    raise
                time.sleep(_wait_s(error, tries))
            else:
                return

    def _transfer(self, partial: Path) -> None:
        if _size(partial) > self.file.size:
            partial.unlink()
        with partial.open("ab") as target:
            if not self.without_xet and is_in_xet(self.file):
                self._by_xet(target)
            else:
                self._by_http(target)

    def _by_xet(self, target: BinaryIO) -> None:
        repository = self.repository
        try:
            for piece in xet_pieces(repository.name, repository.commit, repository.endpoint, self.file, target.tell()):
                repository.pace.arrived(len(piece))
                target.write(piece)
        except XetFailedError:
            self.without_xet = True
            raise

    def _by_http(self, target: BinaryIO) -> None:
        repository, hub = self.repository, _transfers()
        hub.http_get(
            hub.hf_hub_url(repository.name, self.file.name, revision=repository.commit, endpoint=repository.endpoint),
            target,
            resume_size=target.tell(),
            headers={**hub.build_hf_headers(), "Accept-Encoding": "identity"},
            expected_size=self.file.size,
            displayed_filename=self.file.name,
            tqdm_class=repository.pace.bar_class(),
        )

    def _problem(self, path: Path) -> tuple[str, str] | None:
        """Return what a file should be and what it is, or None if it is right."""
        size = path.stat().st_size
        if size != self.file.size:
            return f"{self.file.size} bytes", f"{size} bytes"
        if self.file.name.endswith(".safetensors") and (broken := safetensors_problem(path)):
            return "a readable safetensors header", broken
        expected, digest = self._checksum()
        if expected is None:
            return None
        with path.open("rb") as content:
            while piece := content.read(_PIECE):
                digest.update(piece)
                self.hashed(len(piece))
        actual = digest.hexdigest()
        name = "sha256" if self.file.sha256 else "git id"
        return None if actual == expected else (f"{name} {expected}", f"{name} {actual}")

    def _checksum(self) -> tuple[str | None, Any]:
        if self.file.sha256:
            return self.file.sha256, hashlib.sha256()
        if len(self.file.git_id) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
            return self.file.git_id, hashlib.sha1(b"blob %d\0" % self.file.size, usedforsecurity=False)
        return None, None


def _transfers() -> Any:
    from huggingface_hub import file_download

    return file_download


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _passes(error: Exception) -> bool:
    """Return whether trying again may help."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _BUSY
    # An OSError without a number is huggingface_hub's word for a file of another size than was announced.
    return isinstance(error, httpx2.TransportError | XetFailedError) or (
        isinstance(error, OSError) and error.errno is None
    )


def _wait_s(error: Exception, tries: int) -> float:
    asked = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    if str(asked).isdigit():
        return min(float(asked), LONGEST_BACKOFF_S)
    return backoff_s(tries)
