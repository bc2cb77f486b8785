"""What a disk's refusal means for the user."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from eventinit.downloads.disk_space import free_space
from eventinit.errors import DiskFullError, DownloadError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def disk_errors(source: str, folder: Path, setting: str = "EVENTINIT_CACHE", needed_bytes: int = 0) -> Generator[None]:
    """Raise what the disk refuses in the block as a typed error; ``setting`` is the variable that names the folder."""
    try:
        yield
    except DownloadError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(source, str(folder), needed_bytes, free_space(folder), setting) from error
        raise DownloadError(source, disk_problem(error, folder, setting)) from error


def disk_problem(error: OSError, folder: Path, setting: str) -> str:
    """Say what went wrong with a folder, and the remedy."""
    if error.errno in _FULL:
        return f"the disk that holds {folder} is full; free some space, or set {setting} to a larger disk"
    reason = error.strerror or type(error).__name__
    return f"cannot write to {folder}: {reason}; make it writable, or set {setting} to another folder"
