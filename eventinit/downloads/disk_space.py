"""Whether what is to be fetched fits on the disk."""

import shutil
from pathlib import Path

from eventinit.errors import DiskFullError


def require_space(source: str, folder: Path, needed_bytes: int, setting: str = "EVENTINIT_CACHE") -> None:
    """Return when a folder, which need not exist yet, has room for so many bytes more.

    ``setting`` is the variable that names the folder.

    Raises:
        DiskFullError: It has not.
    """
    free_bytes = free_space(folder)
    if needed_bytes > free_bytes:
        raise DiskFullError(source, str(folder), needed_bytes, free_bytes, setting)


def free_space(folder: Path) -> int:
    """Return how many bytes may still be written to the disk that holds a folder, or will hold it."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free
