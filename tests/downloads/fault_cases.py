"""Every fault that is injected, what has to come of it, and the table that tests/README.md shows.

``python -m tests.downloads.fault_cases`` prints the table.
"""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from eventinit.errors import (
    AccessDeniedError,
    DiskFullError,
    DownloadError,
    IntegrityError,
    ModelNotFoundError,
    ObjectChangedError,
    StalledError,
    StoreUnavailableError,
)
from tests.servers.proxy import LISTING, Fault, Proxy

MIB = 1024 * 1024
CONFIG, WEIGHTS, OTHER = "config.json", "model.safetensors", "data.bin"
STORES = ("S3", "web", "no ranges")
"""A SeaweedFS, a web server with ranges, and one without."""

Outcome = type[DownloadError] | None
"""The error, or None for the exact bytes."""

Outcomes = Outcome | tuple[Outcome, ...]
"""What may come of a fault; several where it depends on how the bytes arrive."""


@functools.cache
def weights(number: int) -> bytes:
    """Return a safetensors file of one tensor, another one for each number."""
    size = 20 * MIB
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    return len(header).to_bytes(8, "little") + header + os.urandom(size)


MODEL: Mapping[str, bytes] = MappingProxyType(
    {CONFIG: b"{}" + b" " * 298, WEIGHTS: weights(0), OTHER: os.urandom(3 * MIB + 11)}
)
TOTAL = sum(map(len, MODEL.values()))


@dataclass
class World:
    """What a fault can be done to: the proxy, and the real store behind it."""

    proxy: Proxy
    put: Callable[[str, bytes], None]
    delete: Callable[[str], object]
    files: dict[str, bytes] = field(default_factory=lambda: dict(MODEL))


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        text: What goes wrong, for the table.
        arrange: Tells the proxy.
        outcome: What comes of it, by kind of store; a store that is missing is not tried.
        most: How many times the model's size may be sent in all, with the fetch that follows without the fault.
        restarts: The same for a server without ranges, from which a file comes from its first byte on.
        stall_timeout_s: How long the store may be silent.
        checksums: Whether the store has a checksum of the weights.
    """

    text: str
    arrange: Callable[[World], None]
    outcome: Mapping[str, Outcomes]
    most: float = 1.15
    restarts: float = 2.0
    stall_timeout_s: float = 20.0
    checksums: bool = True

    def limit(self, store: str) -> float:
        return self.restarts if store == "no ranges" else self.most

    def outcomes(self, store: str) -> tuple[Outcome, ...]:
        outcome = self.outcome[store]
        return outcome if isinstance(outcome, tuple) else (outcome,)


def _all(outcome: Outcome) -> Mapping[str, Outcomes]:
    return dict.fromkeys(STORES, outcome)


def _fault(fault: Fault, name: str = WEIGHTS, times: float = float("inf"), skip: int = 0) -> Callable[[World], None]:
    return lambda world: world.proxy.misbehave(fault, name, times=times, skip=skip)


def _both(*steps: Callable[[World], None]) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        for step in steps:
            step(world)

    return arrange


def _replace(world: World) -> None:
    """Put another object in the place of the weights before they are asked for a second time."""
    world.proxy.misbehave(Fault("call", action=lambda: _put(world, WEIGHTS, weights(1))), WEIGHTS, times=1)


def _put(world: World, name: str, content: bytes) -> None:
    world.put(name, content)
    world.files[name] = content


def _remove(world: World) -> None:
    world.proxy.misbehave(Fault("call", action=lambda: world.delete(WEIGHTS)), WEIGHTS, times=1)


def _status(status: int) -> Fault:
    return Fault("status", status, {"Retry-After": "1"} if status == 503 else {})


_RANGES_ONLY = {"S3": None, "web": None}
_LUCK: tuple[Outcome, ...] = (None, StoreUnavailableError)
_HEADER_BYTE = 9
_CUT_ONCE = _fault(Fault("cut", MIB), times=1)

CASES = {
    "cuts": Case(
        "connections cut at random bytes, 6 of them",
        _both(_fault(Fault("cut"), times=3), _fault(Fault("cut"), OTHER, 2), _fault(Fault("cut"), CONFIG, 1)),
        _all(None),
        restarts=4.5,
    ),
    "resets": Case("connection reset, twice", _fault(Fault("reset", 5 * MIB), times=2), _all(None), restarts=2.0),
    "cut-again": Case(
        "every connection cut after 6 MiB",
        _fault(Fault("cut", 6 * MIB)),
        {**_RANGES_ONLY, "no ranges": StoreUnavailableError},
        restarts=3.0,
    ),
    "cut-at-once": Case(
        "every connection cut in its first line", _fault(Fault("cut", 10)), _all(StoreUnavailableError)
    ),
    "stall": Case("silence after 1 MiB, once", _fault(Fault("stall", MIB), times=1), _all(None), stall_timeout_s=1.0),
    "stall-before": Case(
        "silence before the answer, once", _fault(Fault("stall", 0), times=1), _all(None), stall_timeout_s=1.0
    ),
    "stall-again": Case(
        "silence after each 6 MiB",
        _fault(Fault("stall", 6 * MIB)),
        {**_RANGES_ONLY, "no ranges": StalledError},
        restarts=3.0,
        stall_timeout_s=1.0,
    ),
    "silent": Case("silence for ever", _fault(Fault("stall", 0)), _all(StalledError), stall_timeout_s=1.0),
    "trickle": Case(
        "a trickle: a small file takes 3 stall timeouts, and is never silent for one",
        _fault(Fault("trickle", 10), CONFIG),
        _all(None),
        stall_timeout_s=1.0,
    ),
    "403": Case("403", _fault(_status(403)), _all(AccessDeniedError)),
    "404": Case("404 for a file that was listed", _fault(_status(404)), _all(ModelNotFoundError)),
    "500-once": Case("500, twice", _fault(_status(500), times=2), _all(None)),
    "500": Case("500 for ever", _fault(_status(500)), _all(StoreUnavailableError)),
    "503-once": Case("503 with Retry-After, twice", _fault(_status(503), times=2), _all(None)),
    "503": Case("503 with Retry-After, for ever", _fault(_status(503)), _all(StoreUnavailableError)),
    "announces-more": Case(
        "Content-Length 1000 bytes too long, once",
        _fault(Fault("announce", 1000), times=1),
        {**_RANGES_ONLY, "no ranges": ObjectChangedError},
    ),
    "announces-more-always": Case(
        "Content-Length 1000 bytes too long, always",
        _fault(Fault("announce", 1000)),
        # The end of a range is lost with the connection unless a piece happens to end there.
        {"S3": _LUCK, "web": _LUCK, "no ranges": ObjectChangedError},
    ),
    "announces-less": Case(
        "Content-Length 1000 bytes too short, once",
        _fault(Fault("announce", -1000), times=1),
        {**_RANGES_ONLY, "no ranges": ObjectChangedError},
    ),
    "announces-less-always": Case(
        "Content-Length 1000 bytes too short, always",
        _fault(Fault("announce", -1000)),
        {"S3": StoreUnavailableError, "web": StoreUnavailableError, "no ranges": ObjectChangedError},
    ),
    "surplus": Case(
        "1000 bytes more than were asked for, always",
        _fault(Fault("surplus", 1000)),
        {**_RANGES_ONLY, "no ranges": ObjectChangedError},
    ),
    "flip-once": Case(
        "a byte flipped once, in a file with a checksum",
        _fault(Fault("flip", 7 * MIB), times=1),
        _all(None),
        most=2.0,
    ),
    "flip": Case(
        "a byte flipped each time, in a file with a checksum",
        _fault(Fault("flip", 7 * MIB)),
        _all(IntegrityError),
        most=3.0,
        restarts=3.0,
    ),
    "flip-header-once": Case(
        "a byte of a safetensors header flipped once, without a checksum",
        _fault(Fault("flip", _HEADER_BYTE), times=1),
        _all(None),
        most=2.0,
        checksums=False,
    ),
    "flip-header": Case(
        "a byte of a safetensors header flipped each time, without a checksum",
        _fault(Fault("flip", _HEADER_BYTE)),
        _all(IntegrityError),
        most=3.0,
        restarts=3.0,
        checksums=False,
    ),
    "replaced": Case(
        "object replaced in the store midway", _both(_CUT_ONCE, _replace), _all(ObjectChangedError), most=2.0
    ),
    "removed": Case("object removed from the store midway", _both(_CUT_ONCE, _remove), _all(ModelNotFoundError)),
    "listing-503-once": Case("503 for the listing, twice", _fault(_status(503), LISTING, 2), _all(None), restarts=1.15),
    "listing-cut": Case("listing cut midway, twice", _fault(Fault("cut", 400), LISTING, 2), _all(None), restarts=1.15),
    "listing-stall": Case(
        "silence in the listing, once",
        _fault(Fault("stall", 400), LISTING, 1),
        _all(None),
        restarts=1.15,
        stall_timeout_s=1.0,
    ),
    "listing-503": Case("503 for the listing, for ever", _fault(_status(503), LISTING), _all(StoreUnavailableError)),
    "listing-403": Case("403 for the listing", _fault(_status(403), LISTING), {"S3": AccessDeniedError}),
}


@dataclass(frozen=True)
class DiskCase:
    """One fault of the disk, while SeaweedFS sends the model to it; ``most`` as above."""

    text: str
    outcome: type[DownloadError]
    most: float


FILLED = DiskCase("disk that somebody else fills meanwhile", DiskFullError, 1.5)
QUOTA = DiskCase("file larger than the quota (RLIMIT_FSIZE)", DownloadError, 1.5)
READ_ONLY = DiskCase("disk mounted for reading only", DownloadError, 1.0)
NO_ACCESS = DiskCase("folder without permission to write (not tried by root)", DownloadError, 1.0)
NO_FOLDER = DiskCase("file in the place of the folder", DownloadError, 1.0)
DISK_CASES = (FILLED, QUOTA, READ_ONLY, NO_ACCESS, NO_FOLDER)

UNNOTICED = "a byte flipped each time, with neither a checksum nor a header: recorded as"
RECORDED = "size only"


def table() -> str:
    """Return the table of all faults as Markdown; the tests assert outcomes and limits."""
    rows = [_row(case.text, *(_cell(case, store) for store in STORES)) for case in CASES.values()]
    disk = [_row(case.text, f"`{case.outcome.__name__}`, ≤ {case.most:g}", "-", "-") for case in DISK_CASES]
    head = [_row("fault", *STORES), f"|---{'|---' * len(STORES)}|"]
    return "\n".join([*head, *rows, _row(UNNOTICED, *[f'"{RECORDED}"'] * 3), *disk]) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(case: Case, store: str) -> str:
    if store not in case.outcome:
        return "-"
    outcomes = " or ".join(f"`{each.__name__}`" if each else "exact bytes" for each in case.outcomes(store))
    return f"{outcomes}, ≤ {case.limit(store):g}"


if __name__ == "__main__":
    print(table(), end="")
