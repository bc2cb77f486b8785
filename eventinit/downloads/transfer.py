"""Bring objects of a bucket to this machine in ranges, many at a time, each file appearing when it is complete."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import anyio
import obstore
from anyio import to_thread
from obstore.store import S3Store

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.disk_errors import disk_errors
from eventinit.downloads.manifest import Manifest, RemoteFile
from eventinit.downloads.s3_errors import store_errors
from eventinit.errors import DownloadError

RANGE_BYTES = 16 * 1024 * 1024
REQUESTS = 8

Arrived = Callable[[int, bool], None]
"""Told how many bytes have come, and whether they completed a file."""


@dataclass(slots=True)
class _PartialFile:
    file: RemoteFile
    path: Path
    missing_bytes: int


@final
class Transfer:
    """One transfer into one model's folder; its partial files are its own and go when it ends."""

    def __init__(self, source: str, store: S3Store, folder: Path, manifest: Manifest, arrived: Arrived) -> None:
        self._source = source
        self._store = store
        self._folder = folder
        self._manifest = manifest
        self._arrived = arrived
        self._partials = folder / PRIVATE / "partial" / secrets.token_hex(8)

    async def run(self, files: Sequence[RemoteFile]) -> None:
        """Fetch files, small ones first; when one fails the others end with it."""
        ranges = self._ranges(files)
        try:
            with disk_errors(self._source, self._folder):
                await to_thread.run_sync(partial(self._partials.mkdir, parents=True))
            async with anyio.create_task_group() as requests:
                for _ in range(REQUESTS):
                    requests.start_soon(self._work, ranges)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(partial(shutil.rmtree, self._partials, ignore_errors=True))

    def _ranges(self, files: Sequence[RemoteFile]) -> Iterator[tuple[_PartialFile, int, int]]:
        for number, file in enumerate(sorted(files, key=lambda file: file.version.size)):
            size = file.version.size
            target = _PartialFile(file, self._partials / str(number), size)
            for start in range(0, max(size, 1), RANGE_BYTES):
                yield target, start, min(start + RANGE_BYTES, size)

    async def _work(self, ranges: Iterator[tuple[_PartialFile, int, int]]) -> None:
        """Fetch one range after another; the workers share the iterator, so each range is fetched once."""
        for target, start, end in ranges:
            data = await self._get(target.file, start, end) if end > start else memoryview(b"")
            with disk_errors(self._source, self._folder):
                await to_thread.run_sync(_write, target.path, data, start)
                target.missing_bytes -= end - start
                is_complete = target.missing_bytes == 0
                if is_complete:
                    await to_thread.run_sync(self._publish, target)
            self._arrived(end - start, is_complete)

    async def _get(self, file: RemoteFile, start: int, end: int) -> memoryview:
        with store_errors(self._source, f"the object {file.key!r}"):
            result = await obstore.get_async(
                self._store, file.key, options={"range": (start, end), "if_match": file.version.etag}
            )
            data = memoryview(await result.bytes_async())
        # Not every store honours If-Match, and a shorter object is answered with what there is.
        if result.meta["e_tag"] != file.version.etag or len(data) != end - start:
            raise DownloadError(
                self._source, f"the object {file.key!r} changed while it was being fetched; fetch again"
            )
        return data

    def _publish(self, target: _PartialFile) -> None:
        size = target.path.stat().st_size
        if size != target.file.version.size:
            raise DownloadError(
                self._source,
                f"{target.file.name} came out at {size} bytes instead of {target.file.version.size}; fetch again",
            )
        self._manifest.publish(target.path, target.file)


def _write(path: Path, data: memoryview, offset: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while data:
            written = os.pwrite(file, data, offset)
            data, offset = data[written:], offset + written
    finally:
        os.close(file)
