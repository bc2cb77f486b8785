"""Who fetches which file of a folder: locks that end with whoever holds them, even when it is killed."""

import fcntl
import os
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import final

_FLOCK = "hhqqi4x"
"""The C ``struct flock`` of 64-bit Linux: type, whence, start, length, process id."""

_OFFSETS = 2**62

_PRESENCE = _OFFSETS
"""The byte on which everybody who uses the folder has a shared lock."""


@final
class FileLocks:
    """One set of locks on the files of a folder, of one fetch; every other set sees what this one holds.

    Each file stands for one byte of a single lock file, and the lock on it is Linux's open file description lock:
    unlike POSIX record locks it also holds between two fetches of one process. So ten thousand files need neither lock
    files nor descriptors of their own, and there is nothing to clean up.

    While a set is open nobody removes the folder: see ``try_alone``.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open_present(path)
        self._exclusive = threading.Lock()

    def try_alone(self) -> bool:
        """Return whether no other set is open, and from now on none is opened until this one is closed."""
        try:
            _lock(self._file, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _PRESENCE)
        except BlockingIOError:
            return False
        return True

    def try_acquire(self, name: str) -> bool:
        """Return whether the lock on a file is now ours."""
        try:
            self._set(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, name)
        except BlockingIOError:
            return False
        return True

    def release(self, name: str) -> None:
        """Let others have the lock on a file."""
        self._set(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, name)

    @contextmanager
    def exclusive(self, name: str) -> Generator[None]:
        """Hold a lock while the block runs, among the threads of this fetch too; wait for it in a worker thread."""
        with self._exclusive:
            self._set(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, name)
            try:
                yield
            finally:
                self.release(name)

    def close(self) -> None:
        """Release all locks."""
        if self._file >= 0:
            # A forked child may share the descriptor; it must not keep the locks.
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
            os.close(self._file)
            self._file = -1

    def _set(self, command: int, kind: int, name: str) -> None:
        _lock(self._file, command, kind, int.from_bytes(sha256(name.encode()).digest()[:8]) % _OFFSETS)


def _open_present(path: Path) -> int:
    """Return the open lock file that lies there now, with our share in it; wait while somebody is alone."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:  # the folder has been removed meanwhile
            continue
        try:
            _lock(file, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK, _PRESENCE)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # whoever was alone has taken the folder away


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lock(file: int, command: int, kind: int, start: int) -> None:
    fcntl.fcntl(file, command, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
