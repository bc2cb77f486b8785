"""What unfinished downloads have left in our cache; the next fetch of the same model would go on with it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from eventinit.downloads.cache import PRIVATE
from eventinit.downloads.cache_inventory import inventory
from eventinit.downloads.cache_prune import remove_partials
from eventinit.downloads.cached_model import CachedModel
from eventinit.errors import DownloadError
from eventinit.leftovers.leftover import Leftover

RESUMABLE = "resumable: the next start of this model goes on from there"


def left_partials() -> Iterator[Leftover]:
    """Yield the partial files of each model, and whether somebody is fetching it."""
    for model in inventory():
        if model.root != "eventinit":
            continue
        would = remove_partials(model, dry_run=True)
        if would.kept_because and model.partial_bytes:
            yield _leftover(model, model.partial_bytes, in_use=True, note=_fetched_by(model))
        elif would.freed_bytes:
            yield _leftover(model, would.freed_bytes, in_use=False, note=RESUMABLE)


def _leftover(model: CachedModel, size: int, *, in_use: bool, note: str) -> Leftover:
    return Leftover(
        kind="partial files",
        name=f"{model.source} ({model.folder})",
        owner=None,
        in_use=in_use,
        note=note,
        remove=partial(_remove, model),
        size=size,
        age_s=_age_s(model.folder / PRIVATE / "partial"),
    )


def _remove(model: CachedModel) -> str | None:
    try:
        return remove_partials(model).kept_because
    except DownloadError as error:
        return error.problem


def _age_s(folder: Path) -> float | None:
    times: list[float] = []
    with suppress(FileNotFoundError):
        times = [path.stat().st_mtime for path in folder.iterdir()]
    return time.time() - max(times) if times else None


def _fetched_by(model: CachedModel) -> str:
    """Name the processes that hold the locks. The kernel does not tell, but they have the one lock file open."""
    lock, holders = str(model.folder / PRIVATE / "locks"), list[str]()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(file.path == lock for file in process.open_files()):
                holders.append(str(process.pid))
    who = f"process {', '.join(holders)}" if holders else "a process that cannot be seen from here"
    return f"{who} is fetching it"
