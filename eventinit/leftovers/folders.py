"""The folders that starts have for temporary files: those of engines, and those of embedded Rays."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from eventinit.backends.engine_folder import engine_folders, owner_of_folder
from eventinit.leftovers.leftover import Leftover
from eventinit.owner import Owner


def signed_engine_folders() -> Iterator[tuple[Path, Owner]]:
    """Yield the folders of engines and whose they are."""
    yield from _signed(engine_folders(Path(tempfile.gettempdir())))


def signed_ray_folders() -> Iterator[tuple[Path, Owner]]:
    """Yield the session folders of embedded Rays and whose they are; no other Ray's."""
    parents = dict.fromkeys((tempfile.gettempdir(), os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()))
    for parent in parents:
        yield from _signed(Path(parent, "ray").glob("session_*"))


def left_folders() -> Iterator[Leftover]:
    """Yield the folders of engines and of embedded Rays."""
    kinds = (("engine's folder", signed_engine_folders()), ("embedded Ray's folder", signed_ray_folders()))
    for kind, signed in kinds:
        for folder, owner in signed:
            with suppress(FileNotFoundError):  # its owner has just removed it
                yield _leftover(kind, folder, owner)


def _signed(folders: Iterator[Path]) -> Iterator[tuple[Path, Owner]]:
    for folder in sorted(folders):
        owner = owner_of_folder(folder) if _is_own_folder(folder) else None
        if owner is not None:
            yield folder, owner


def _is_own_folder(path: Path) -> bool:
    """Return whether it is no link and this user's: what others write into a shared folder decides nothing."""
    try:
        return path.is_dir() and not path.is_symlink() and path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _leftover(kind: str, folder: Path, owner: Owner) -> Leftover:
    return Leftover(
        kind=kind,
        name=str(folder),
        owner=owner,
        in_use=owner.is_alive(),
        note="",
        remove=partial(_remove, folder),
        size=sum(_size(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names),
        age_s=time.time() - folder.stat().st_mtime,
    )


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _remove(folder: Path) -> str | None:
    shutil.rmtree(folder, ignore_errors=True)
    return "the disk refuses to remove all of it" if folder.exists() else None
