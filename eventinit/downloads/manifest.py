"""What a model's folder holds completely: a record of each file, and of each mode that was finished."""

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from pydantic import TypeAdapter, ValidationError

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.remote import Checksum, RemoteFile
from eventinit.downloads.verification import Verified
from eventinit.ports import DownloadMode

NAME = "manifest.jsonl"
_LOCK = "\0manifest"
_NEEDLESS_LINES = 1000


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One complete file of a folder.

    Attributes:
        name: Its path in the folder.
        size: Its size in bytes.
        version: The version of the content in the store that listed it.
        checksum: What the content is known by; None when only its size could be checked.
        verified: How it was compared with what the store says when it was fetched.
        mtime_ns: The time of its last change when it was recorded.
        boot_id: The boot in which it was written, if the disk may not have it yet; None when it surely has.
        origin: The identity of the store that listed it.
    """

    name: str
    size: int
    version: str | None
    checksum: Checksum | None
    verified: Verified
    mtime_ns: int
    boot_id: str | None = None
    origin: str = ""

    def is_of(self, file: RemoteFile, origin: str) -> bool:
        """Return whether this is the content that a store has: by its checksum if both know one, else by version.

        A version says nothing about another store's. Mirrors have the same model by definition, so the size is enough
        there: a first mirror that is down for an hour shall not have a whole model fetched again.
        """
        if self.size != file.size:
            return False
        ours, theirs = self.checksum, file.checksum
        if ours and theirs and ours.algorithm == theirs.algorithm:
            return ours == theirs
        if self.origin != origin:
            return True
        # Without a version nobody can tell whether the object has changed.
        return file.version is not None and self.version == file.version


@dataclass(frozen=True, slots=True)
class FinishedMode:
    """A fetch that came to its end: what was asked for, from where, and when (seconds since 1970)."""

    mode: DownloadMode
    source: str
    files: int
    bytes_total: int
    at: float
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that a manifest says; ``source`` is where the latest fetch that began here reads from."""

    source: str | None = None
    files: Mapping[str, HeldFile] = field(default_factory=dict[str, HeldFile])
    modes: Sequence[FinishedMode] = ()


@final
class Manifest:
    """The record of a folder, shared by all fetches into it, of this process and of others; use it in threads.

    It is a file of JSON lines that only grows, so that recording a file costs one write however many there are: the
    last line about a name counts. What a crash leaves of a line is skipped, which costs no more than fetching that
    file again. A fetch that finds many outdated lines writes the file anew. Its time on the disk is when the folder was
    last used.

    Without locks it is for whoever only looks: the folder may be one that cannot be written to.
    """

    def __init__(self, folder: Path, locks: FileLocks | None = None) -> None:
        self._path = folder / PRIVATE / NAME
        self._locks = locks
        self._source: str | None = None
        self._files: dict[str, HeldFile] = {}
        self._modes: dict[object, FinishedMode] = {}
        self._inode = 0
        self._offset = 0
        self._lines = 0

    def refresh(self) -> Records:
        """Return what is recorded by now; only what is new is read."""
        with self._alone():
            return self._refresh()

    def begin(self, source: str) -> None:
        """Record that the folder is used now and where the fetch reads from, which names it if the fetch never ends."""
        if self.refresh().source == source:
            self.touch()
        else:
            self._append([_source_line(source)])

    def add(self, files: Iterable[HeldFile], *, durable: bool = False) -> None:
        """Record complete files, each replacing what was said about its name."""
        self._append(map(_file_line, files), durable=durable)

    def forget(self, names: Iterable[str]) -> None:
        """Record that files are gone."""
        self._append(json.dumps({"gone": name}).encode() for name in names)

    def finish(self, mode: FinishedMode) -> None:
        """Record that all files of a mode are there."""
        self._append([_mode_line(mode)])

    def touch(self) -> None:
        """Record that the folder is used now, if it is ours to write to."""
        with suppress(OSError):
            os.utime(self._path)

    def _alone(self) -> AbstractContextManager[None]:
        return self._locks.exclusive(_LOCK) if self._locks else nullcontext()

    def _append(self, lines: Iterable[bytes], *, durable: bool = False) -> None:
        new = b"".join(b"\n" + line for line in lines)
        if not new:
            return
        with self._alone():
            self._refresh()
            if self._lines > 2 * (len(self._files) + len(self._modes)) + _NEEDLESS_LINES:
                self._compact()
            file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                # Each line has its end in front too, in case that a crash has torn the one before.
                _write_all(file, new + b"\n")
                if durable:
                    os.fdatasync(file)
            finally:
                os.close(file)
            self._refresh()

    def _refresh(self) -> Records:
        try:
            with self._path.open("rb") as file:
                there = os.fstat(file.fileno())
                if there.st_ino != self._inode or there.st_size < self._offset:
                    self._reset()
                    self._inode = there.st_ino
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            self._reset()
            return Records()
        self._offset += len(new)
        for line in new.splitlines():
            self._take(line)
        return Records(self._source, dict(self._files), tuple(self._modes.values()))

    def _reset(self) -> None:
        self._source, self._files, self._modes, self._offset, self._lines = None, {}, {}, 0, 0

    def _take(self, line: bytes) -> None:
        try:
            said: Any = json.loads(line or b"{}")
            if "source" in said:
                self._source = str(said["source"])
            elif "file" in said:
                entry = held_file(said["file"])
                self._files[entry.name] = entry
            elif "gone" in said:
                self._files.pop(said["gone"], None)
            elif "mode" in said:
                mode = _MODE.validate_python(said["mode"])
                self._modes[mode.mode, mode.source, mode.include, mode.exclude] = mode
            self._lines += bool(said)
        except (ValueError, TypeError, ValidationError):
            return

    def _compact(self) -> None:
        new = self._path.with_suffix(".new")
        source = [_source_line(self._source)] if self._source else []
        lines = [*source, *map(_file_line, self._files.values()), *map(_mode_line, self._modes.values())]
        with new.open("wb") as file:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fdatasync(file.fileno())
        new.replace(self._path)


def held_file(said: object) -> HeldFile:
    """Return a record from its JSON form; raises ValidationError for anything else."""
    return _FILE.validate_python(said)


def read_manifest(folder: Path) -> Records:
    """Return what a folder's manifest says, for whoever only looks."""
    return Manifest(folder).refresh()


def last_used(folder: Path) -> float | None:
    """Return when the manifest of a folder was last written to or touched, or None where there is none."""
    try:
        return (folder / PRIVATE / NAME).stat().st_mtime
    except OSError:
        return None


def finished_now(mode: DownloadMode, source: str, sizes: Sequence[int]) -> FinishedMode:
    """Return the record of a mode that has just been finished."""
    return FinishedMode(mode, source, len(sizes), sum(sizes), time.time())


def _source_line(source: str) -> bytes:
    return json.dumps({"source": source}).encode()


def _file_line(file: HeldFile) -> bytes:
    return b'{"file":' + _FILE.dump_json(file) + b"}"


def _mode_line(mode: FinishedMode) -> bytes:
    return b'{"mode":' + _MODE.dump_json(mode) + b"}"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


_FILE = TypeAdapter(HeldFile)
_MODE = TypeAdapter(FinishedMode)
