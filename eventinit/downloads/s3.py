"""Models in a bucket of S3, or of a store that speaks its protocol."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit

import obstore
from anyio import to_thread
from obstore.store import S3Store

from eventinit.downloads.cache import model_folder, safe_path
from eventinit.downloads.disk_errors import disk_errors
from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.manifest import Manifest, RemoteFile, Version
from eventinit.downloads.s3_errors import store_errors
from eventinit.downloads.s3_store import endpoint, open_store, require_credentials
from eventinit.downloads.transfer import Transfer
from eventinit.errors import ConfigError, ModelNotFoundError
from eventinit.ports import DownloadMode, DownloadResult, FetchProgress

if TYPE_CHECKING:
    from obstore import ObjectMeta


@final
class S3Source:
    """All objects under ``s3://bucket/prefix``, kept in a folder of the cache that is theirs alone."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError("model_source", ["an S3 URI is s3://bucket/prefix, with no user, query or fragment"])
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._source = f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """List the prefix and transfer what the folder does not hold with the same size and etag."""
        started = monotonic()
        folder = self._folder()
        if mode == "NONE":
            return DownloadResult(folder, self._source, mode, 0, 0, 0, 0.0)
        await require_credentials(self._source)
        with store_errors(self._source, f"bucket {self._bucket!r}"):
            store = open_store(self._bucket)
            listed = await _objects(store, self._prefix or None)
        everything = [(meta["path"], Version(meta["size"], meta["e_tag"])) for meta in listed]
        with disk_errors(self._source, folder):
            files = await to_thread.run_sync(self._files, folder, everything)
        wanted = [file for file in files if is_wanted(mode, file.name)]
        fetched = await self._bring(store, folder, files, wanted, report)
        total = sum(file.version.size for file in wanted)
        return DownloadResult(folder, self._source, mode, len(wanted), total, fetched, monotonic() - started)

    def _folder(self) -> Path:
        return model_folder("s3", f"{self._bucket}/{self._prefix}", f"{endpoint()}\n{self._source}")

    def _files(self, folder: Path, objects: Sequence[tuple[str, Version]]) -> list[RemoteFile]:
        """Give every object its place in the folder; one unsafe key refuses them all, before anything is written."""
        files: list[RemoteFile] = []
        for key, version in objects:
            name = key.removeprefix(self._prefix).removeprefix("/")
            if name:  # the prefix itself may be an object: a folder's marker
                files.append(RemoteFile(name, key, safe_path(self._source, folder, name), version))
        if not files:
            where = f"no objects under {self._prefix!r}" if self._prefix else "no objects"
            raise ModelNotFoundError(self._source, f"bucket {self._bucket!r} has {where}; check model_source")
        return files

    async def _bring(
        self,
        store: S3Store,
        folder: Path,
        files: Sequence[RemoteFile],
        wanted: Sequence[RemoteFile],
        report: Callable[[FetchProgress], None],
    ) -> int:
        """Make the folder hold the wanted files and return how many bytes that took."""
        manifest = Manifest(folder)
        with disk_errors(self._source, folder):
            held = await to_thread.run_sync(manifest.held, wanted)
        missing = [file for file in wanted if file.name not in held]
        progress = _Progress(wanted, held, report)
        if missing:
            await Transfer(self._source, store, folder, manifest, progress.arrived).run(missing)
        with disk_errors(self._source, folder):
            await to_thread.run_sync(self._remove_vanished, folder, manifest, files)
        return sum(file.version.size for file in missing)

    def _remove_vanished(self, folder: Path, manifest: Manifest, files: Sequence[RemoteFile]) -> None:
        """Remove fetched files whose objects are gone: old shards beside new ones would be loaded as well."""
        for name in manifest.forget_all_but(file.name for file in files):
            safe_path(self._source, folder, name).unlink(missing_ok=True)


async def _objects(store: S3Store, prefix: str | None) -> "Sequence[ObjectMeta]":
    untyped: Any = obstore  # its stubs need arro3 for listings as Arrow tables
    found: Sequence[ObjectMeta] = await untyped.list(store, prefix).collect_async()
    return found


@final
class _Progress:
    """Counts from what is there already up to all that is wanted."""

    def __init__(self, wanted: Sequence[RemoteFile], held: set[str], report: Callable[[FetchProgress], None]) -> None:
        self._report = report
        self._bytes_total = sum(file.version.size for file in wanted)
        self._files_total = len(wanted)
        self._bytes_done = sum(file.version.size for file in wanted if file.name in held)
        self._files_done = len(held)
        self.arrived(0, False)  # noqa: FBT003

    def arrived(self, new_bytes: int, is_file: bool) -> None:  # noqa: FBT001
        self._bytes_done += new_bytes
        self._files_done += is_file
        self._report(FetchProgress(self._bytes_done, self._bytes_total, self._files_done, self._files_total))
