"""Models that lie in a folder of this machine already."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from time import monotonic
from typing import final

from anyio import to_thread

from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.model_root import require_root
from eventinit.errors import AccessDeniedError, ModelNotFoundError
from eventinit.ports import DownloadMode, DownloadResult, FetchProgress


@final
class LocalFolderSource:
    """A folder that is used where it is; nothing is copied."""

    can_be_shared = False

    def __init__(self, folder: str | Path) -> None:
        self._source = str(folder)

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """Return the folder, with the number and size of the mode's files in it."""
        started = monotonic()
        path, sizes = await to_thread.run_sync(self._look, mode)
        report(FetchProgress(sum(sizes), sum(sizes), len(sizes), len(sizes)))
        return DownloadResult(path, self._source, mode, len(sizes), sum(sizes), 0, monotonic() - started)

    def _look(self, mode: DownloadMode) -> tuple[Path, list[int]]:
        try:
            path = Path(self._source).expanduser().absolute()
            if not path.is_dir():
                raise ModelNotFoundError(self._source, self._absence(path))
            if not any(path.iterdir()):
                raise ModelNotFoundError(
                    self._source, "the folder is empty; set model_source to one with a model in it"
                )
            names = _names_in(path)
            if mode != "NONE":
                require_root(self._source, names)
            return path, _sizes_of(path, (name for name in names if is_wanted(mode, name)))
        except PermissionError as error:
            raise AccessDeniedError(self._source, f"{error.strerror}; let this user read the folder") from error
        except RuntimeError as error:  # a "~user" without a home
            raise ModelNotFoundError(self._source, f"{error}; write the path out") from error

    @staticmethod
    def _absence(path: Path) -> str:
        problem = "is a file, not a folder" if path.exists() else "no such folder"
        return f"{problem}; set model_source to the folder that holds the model's config.json"


def _names_in(folder: Path) -> list[str]:
    """Return the paths of all files in a folder, relative to it."""
    return sorted(
        Path(parent, name).relative_to(folder).as_posix() for parent, _, names in os.walk(folder) for name in names
    )


def _sizes_of(folder: Path, names: Iterable[str]) -> list[int]:
    """Return the size in bytes of each file, but not of what others remove meanwhile."""
    sizes: list[int] = []
    for name in names:
        with suppress(FileNotFoundError):
            there = (folder / name).stat()
            if S_ISREG(there.st_mode):
                sizes.append(there.st_size)
    return sizes
