"""A file that is being fetched: its bytes on the disk, and a journal of which of them are there."""

import json
import os
import threading
import time
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, final

from pydantic import TypeAdapter

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.manifest import HeldFile, held_file
from eventinit.downloads.remote import Checksum, RemoteFile
from eventinit.downloads.spans import Span, gaps, length, merged

SYNC_BYTES = 256 * 1024 * 1024
SYNC_S = 5.0
_LINE = TypeAdapter(dict[str, Any])
_NEW = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal says.

    Attributes:
        header: Which content is being fetched; empty when there is no journal.
        boot_id: The boot in which it was written.
        written: What the operating system had taken.
        synced: What was certainly on the disk.
        complete: What the file was recorded as, if it had been verified and was about to get its final name.
    """

    header: dict[str, Any]
    boot_id: str
    written: list[Span]
    synced: list[Span]
    complete: HeldFile | None

    def present(self, boot_id: str) -> list[Span]:
        """Return what can be relied on: all that was written, or after a reboot what had been synced."""
        return self.written if boot_id and self.boot_id == boot_id else self.synced


def partial_path(folder: Path, name: str) -> Path:
    """Return where the bytes of a file lie before it is complete."""
    return folder / PRIVATE / "partial" / sha256(name.encode()).hexdigest()[:16]


def left_in(folder: Path) -> frozenset[Path]:
    """Return all partial files of a folder, those too of which there is only something beside them."""
    try:
        return frozenset(path.with_suffix("") for path in (folder / PRIVATE / "partial").iterdir())
    except FileNotFoundError:
        return frozenset()


def remove_partial(path: Path) -> None:
    """Remove a partial file, and then what lies beside it."""
    for left in sorted(path.parent.glob(f"{path.name}*")):
        left.unlink(missing_ok=True)


def current_boot() -> str:
    """Return what tells this boot of the machine from others, or nothing when that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_journal(path: Path) -> Journal:
    """Read a journal up to the first line that a crash has torn."""
    header: dict[str, Any] = {}
    spans: list[Span] = []
    synced, complete = 0, None
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        for line in lines:
            said = _LINE.validate_json(line if line.endswith(b"\n") else b"")
            if "span" in said:
                start, end = said["span"]
                spans.append((int(start), int(end)))
            elif "synced" in said:
                synced = max(synced, int(said["synced"]))
            elif "complete" in said:
                complete = held_file(said["complete"])
            else:
                header = said
    except (FileNotFoundError, ValueError, TypeError):
        pass
    boot_id = str(header.pop("boot_id", ""))
    return Journal(header, boot_id, merged(spans), merged(spans[:synced]), complete)


def bytes_present(folder: Path, file: RemoteFile, boot_id: str) -> int:
    """Return how many bytes of this very content an earlier fetch has left."""
    path = partial_path(folder, file.name)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    return length(_usable(read_journal(path.with_suffix(".journal")), file, boot_id, size))


def bytes_on_disk(folder: Path, file: RemoteFile) -> int:
    """Return about how many bytes whoever fetches a file has by now."""
    try:
        return min(file.size, partial_path(folder, file.name).stat().st_blocks * 512)
    except FileNotFoundError:
        return 0


@final
class PartialFile:
    """One file on its way; the caller holds its lock, and calls everything here in worker threads.

    ``write`` may be called by several threads at a time.
    """

    def __init__(self, folder: Path, file: RemoteFile, boot_id: str) -> None:
        self.path = partial_path(folder, file.name)
        self._journal_path = self.path.with_suffix(".journal")
        self._boot_id = boot_id
        self._guard, self._writing = threading.Lock(), threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        journal = read_journal(self._journal_path)
        self._data = os.open(self.path, _NEW | os.O_RDWR, 0o644)
        self._journal = -1
        self._unsynced, self._synced_at = 0, time.monotonic()
        size = os.fstat(self._data).st_size
        present = _usable(journal, file, boot_id, size)
        self._begin(file, present, journal.synced if present else [])

    def restart(self, file: RemoteFile, *, keep: bool = False) -> None:
        """Fetch another content instead, or the same from another place; ``keep`` what is there already."""
        self._begin(file, self._spans if keep else [], [])

    def missing(self) -> list[Span]:
        """Return what is still to be fetched."""
        return gaps(self._spans, self.file.size)

    def write(self, start: int, piece: memoryview) -> None:
        """Put bytes in their place, and then into the journal."""
        end = start + piece.nbytes
        # The kernel lets one thread at a time write to a file, and the others would wait for it in a busy loop.
        with self._writing:
            _write_at(self._data, start, piece)
        with self._guard:
            self._spans.append((start, end))
            self._append({"span": (start, end)})
            self._unsynced += end - start
            is_due = self._unsynced >= SYNC_BYTES or time.monotonic() - self._synced_at >= SYNC_S
            if not is_due:
                return
            covered, self._unsynced, self._synced_at = len(self._spans), 0, time.monotonic()
        os.fdatasync(self._data)
        with self._guard:
            self._append({"synced": covered})

    def publish(self, target: Path, entry: HeldFile) -> HeldFile:
        """Give the complete file its final name, and return its record with the time it has on the disk."""
        os.fsync(self._data)
        there = os.fstat(self._data)
        done = replace(entry, mtime_ns=there.st_mtime_ns)
        # Whoever is killed between here and the manifest has not fetched in vain: the next start finds this line.
        self._append({"complete": asdict(done)})
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(target)
        sync_folder(target.parent)
        return done

    def close(self) -> None:
        """Let go of the files; what is there stays, to be resumed."""
        for file in (self._data, self._journal):
            if file >= 0:
                os.close(file)
        self._data = self._journal = -1

    def discard(self) -> None:
        """Let go of the files and remove them."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)

    def _begin(self, file: RemoteFile, present: list[Span], synced: list[Span]) -> None:
        """Write the journal anew, short and without what a crash has left of it."""
        self.file = file
        self._spans: list[Span] = [*synced, *present]
        self._unsynced, self._synced_at = 0, time.monotonic()
        os.ftruncate(self._data, min(os.fstat(self._data).st_size, file.size) if present else 0)
        header = {**_header(file), "boot_id": self._boot_id}
        spans = [{"span": span} for span in self._spans]
        lines: list[object] = [header, *spans[: len(synced)], {"synced": len(synced)}, *spans[len(synced) :]]
        new = self._journal_path.with_suffix(".new")
        new.write_bytes(b"".join(map(_line, lines)))
        if self._journal >= 0:
            os.close(self._journal)
        self._journal = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        new.replace(self._journal_path)

    def _append(self, line: object) -> None:
        os.write(self._journal, _line(line))


def adopt_complete(folder: Path, file: RemoteFile, origin: str, target: Path) -> HeldFile | None:
    """Return the record of a file that got its final name just before a crash, so that the manifest lacks it."""
    journal_path = partial_path(folder, file.name).with_suffix(".journal")
    entry = read_journal(journal_path).complete
    if (
        entry is None
        or not entry.is_of(file, origin)
        or partial_path(folder, file.name).exists()
        or not target.is_file()
    ):
        return None
    there = target.stat()
    return entry if (there.st_size, there.st_mtime_ns) == (entry.size, entry.mtime_ns) else None


def sync_folder(folder: Path) -> None:
    """Have the disk know the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(file: RemoteFile) -> dict[str, Any]:
    checksum = asdict(file.checksum) if file.checksum else None
    return {"name": file.name, "size": file.size, "version": file.version, "checksum": checksum}


def _fits(header: dict[str, Any], file: RemoteFile) -> bool:
    """Return whether a journal is about the content that the store has now."""
    if (header.get("name"), header.get("size")) != (file.name, file.size):
        return False
    theirs = header.get("checksum")
    if theirs and file.checksum:
        return bool(Checksum(**theirs) == file.checksum)
    return file.version is not None and header.get("version") == file.version


def _usable(journal: Journal, file: RemoteFile, boot_id: str, size: int) -> list[Span]:
    """Return what can be relied on of a partial file of so many bytes."""
    present = journal.present(boot_id)
    return present if present and present[-1][1] <= size and _fits(journal.header, file) else []


def _line(said: object) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _write_at(file: int, start: int, piece: memoryview) -> None:
    while piece.nbytes:
        written = os.pwrite(file, piece, start)
        piece, start = piece[written:], start + written
