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


@final
class FileLocks:
    """One set of locks on the files of a folder, of one fetch; every other set sees what this one holds.

    Each file stands for one byte of a single lock file, and the lock on it is Linux's open file description lock:
    unlike POSIX record locks it also holds between two fetches of one process. So ten thousand files need neither lock
    files nor descriptors of their own, and there is nothing to clean up.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._exclusive = threading.Lock()

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
        start = int.from_bytes(sha256(name.encode()).digest()[:8]) % _OFFSETS
        fcntl.fcntl(self._file, command, struct.pack(_FLOCK, kind, os.SEEK_SET, start, 1, 0))
