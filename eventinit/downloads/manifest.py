"""What a model's folder holds completely: size and etag of each file, as the store had them."""

import fcntl
import os
import secrets
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from pydantic import BaseModel, ValidationError

from eventinit.downloads.cache import PRIVATE


@dataclass(frozen=True, slots=True)
class Version:
    """Which content of an object is meant."""

    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model, in the store and on this machine.

    Attributes:
        name: Its name relative to the model's folder.
        key: The object's key in the bucket.
        path: Where it lies on this machine when it is complete.
        version: Which content is meant.
    """

    name: str
    key: str
    path: Path
    version: Version


class _Records(BaseModel):
    files: dict[str, Version] = {}


@final
class Manifest:
    """The record of a model's folder, shared by all fetches into it, of this process and of others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / PRIVATE / "manifest.json"

    def held(self, files: Iterable[RemoteFile]) -> set[str]:
        """Return the names of the files that the folder has with just this content."""
        recorded = self._read().files
        return {file.name for file in files if recorded.get(file.name) == file.version and _is_there(file)}

    def publish(self, partial: Path, file: RemoteFile) -> None:
        """Give a complete file its final name and record it, as one step among all fetches."""
        with self._locked():
            records = self._read()
            if records.files.pop(file.name, None):
                # Whoever is killed right after the rename leaves an unknown file, never one under the old etag.
                self._write(records)
            file.path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(file.path)
            records.files[file.name] = file.version
            self._write(records)

    def forget_all_but(self, names: Iterable[str]) -> list[str]:
        """Forget the files that the store no longer has, and return their names."""
        with self._locked():
            records = self._read()
            gone = sorted(set(records.files).difference(names))
            if gone:
                self._write(_Records(files={name: v for name, v in records.files.items() if name not in gone}))
            return gone

    def _read(self) -> _Records:
        """Read the records; what cannot be read counts as empty, which costs no more than fetching again."""
        try:
            return _Records.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return _Records()

    def _write(self, records: _Records) -> None:
        new = self._path.with_name(f"manifest-{secrets.token_hex(8)}.tmp")
        try:
            new.write_text(records.model_dump_json(indent=1))
            new.replace(self._path)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Generator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_name("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _is_there(file: RemoteFile) -> bool:
    # Without an etag nobody can tell whether the object has changed.
    return file.version.etag is not None and file.path.is_file() and file.path.stat().st_size == file.version.size
