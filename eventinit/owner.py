"""Who made what may outlive its maker: written on each such thing, so that anybody can tell whether the maker lives."""

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import final

SHARED = "shared"
"""The start id of what belongs to no single start of its process."""

_PROC = Path("/proc")
_STATE, _START_TIME = 0, 19
"""Places in ``/proc/PID/stat``, counted from behind the command's name."""

_PATTERN = re.compile(
    r"eventinit-(?P<start_id>[0-9a-z]+)-(?P<pid>\d+)-(?P<started>\d+)-(?P<machine>[0-9a-f]+)-(?P<host>.+)"
)


@final
@dataclass(frozen=True, slots=True)
class Owner:
    """The start, and the process it runs in, that a thing belongs to; ``str()`` is what is written on the thing.

    Attributes:
        start_id: The start, or ``SHARED``.
        pid: The process.
        started: When the process started, in clock ticks since the boot, which tells it from a later one of its id.
        machine: The boot and the process namespace in which the id counts.
        host: The name of the machine, for people.
    """

    start_id: str
    pid: int
    started: int
    machine: str
    host: str

    def __str__(self) -> str:
        return f"eventinit-{self.start_id}-{self.pid}-{self.started}-{self.machine}-{self.host}"

    def is_alive(self) -> bool | None:
        """Return whether the process runs; None when it is of another machine, boot or container, unseen from here."""
        if self.machine != _this_machine():
            return None
        return started_at(self.pid) == self.started


def this_owner(start_id: str) -> Owner:
    """Return what to write on the things that a start makes in this process."""
    pid = os.getpid()
    return Owner(start_id, pid, started_at(pid) or 0, _this_machine(), socket.gethostname())


def parse_owner(text: str) -> Owner | None:
    """Return the owner that a text names, or None when it is none of ours."""
    found = _PATTERN.fullmatch(text.strip())
    if found is None:
        return None
    return Owner(found["start_id"], int(found["pid"]), int(found["started"]), found["machine"], found["host"])


def started_at(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None when it has ended, reaped or not."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[_STATE] in "ZX" else int(fields[_START_TIME])


@cache
def _this_machine() -> str:
    # Containers of one machine share its boot, and each counts its processes anew.
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return sha256(f"{boot} {(_PROC / 'self/ns/pid').stat().st_ino}".encode()).hexdigest()[:12]
