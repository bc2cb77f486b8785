"""The private folder of one engine: its temporary files, whose it is, and which processes use it.

An engine outlives a killed driver, and its processes wipe their environment when they give themselves a title: what
is written here is how they are found then.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import final

import psutil

from eventinit.owner import Owner, parse_owner, started_at

OWNER_FILE = "eventinit-owner"
_PROCESSES_FILE = "eventinit-processes"
_PREFIX = "eventinit-"


@final
class EngineFolder:
    """A new folder of an engine that is about to start."""

    def __init__(self, owner: Owner) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._recorded = ""
        (self.path / OWNER_FILE).write_text(str(owner))

    def record(self, processes: Iterable[psutil.Process]) -> None:
        """Note which processes the engine has."""
        text = "".join(f"{p.pid} {started}\n" for p in processes if (started := started_at(p.pid)) is not None)
        if text == self._recorded:
            return
        new = self.path / f"{_PROCESSES_FILE}.new"
        with suppress(OSError):  # a full disk is no reason to end an engine
            new.write_text(text)
            new.replace(self.path / _PROCESSES_FILE)
            self._recorded = text

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def engine_folders(parent: Path) -> Iterator[Path]:
    """Yield what may be folders of engines."""
    return parent.glob(f"{_PREFIX}*")


def owner_of_folder(folder: Path) -> Owner | None:
    """Return whose a folder is, or None when that is not written in it."""
    try:
        return parse_owner((folder / OWNER_FILE).read_text())
    except (OSError, UnicodeDecodeError):
        return None


def recorded_processes(folder: Path) -> list[psutil.Process]:
    """Return those of the processes noted in a folder that still run."""
    try:
        lines = (folder / _PROCESSES_FILE).read_text().splitlines()
    except FileNotFoundError:
        return []
    running: list[psutil.Process] = []
    for pid, started in (map(int, line.split()) for line in lines):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if started_at(pid) == started:
                running.append(process)
    return running
