"""When nothing ran on this machine at all: its host may hold a virtual machine up, and everything on it is late.

    python -m tests.benchmarks.downloads.pauses PROCESSOR

On each processor a process that comes before all others looks at the clock every other millisecond. When all of them
are late at the same time, nobody had a processor. Such a process needs the right to be one (root, CAP_SYS_NICE).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from functools import reduce
from select import select
from typing import Final, final

Span = tuple[float, float]
"""Two times of ``time.monotonic``, in seconds."""

TICK_S: Final = 0.002
_LEAST_S: Final = 0.001
_PRIORITY: Final = 50


@final
class PauseWatch:
    """Watches from its creation until it is ended.

    Attributes:
        watchers: A process for each processor; without the right to watch they have ended.
    """

    def __init__(self) -> None:
        self.watchers = [_start(processor) for processor in sorted(os.sched_getaffinity(0))]
        for watcher in self.watchers:
            _wait_for(watcher)

    def end(self) -> Sequence[Span] | None:
        """Return when the machine stood still, or None when that is not known."""
        told = [watcher.communicate()[0] for watcher in self.watchers]
        return shared([tuple(span) for span in json.loads(text)] for text in told) if all(told) else None


def shared(spans: Iterable[Sequence[Span]]) -> Sequence[Span] | None:
    """Return what all have in common, or None when there are none."""
    each = list(spans)
    return reduce(_overlaps, each) if each else None


def without(span: Span, pauses: Iterable[Span]) -> float:
    """Return how long a span is without the pauses, in seconds."""
    return span[1] - span[0] - sum(end - start for start, end in _overlaps([span], pauses))


def _overlaps(some: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    others = list(others)
    pairs = [(max(a[0], b[0]), min(a[1], b[1])) for a in some for b in others]
    return [(start, end) for start, end in pairs if start < end]


def _start(processor: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.benchmarks.downloads.pauses", str(processor)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _wait_for(watcher: "subprocess.Popen[str]") -> None:
    """Return when a watcher has begun, or has ended since it may not watch."""
    if watcher.stdout:
        watcher.stdout.readline()


def main(processor: int) -> None:
    """Print a line, and when standard input ends the spans in which this processor was not to be had."""
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    print("watching", flush=True)
    late: list[Span] = []
    ended = False
    while not ended:
        due = time.monotonic() + TICK_S
        ended = bool(select([sys.stdin], [], [], TICK_S)[0])
        now = time.monotonic()
        if now - due > _LEAST_S:
            late.append((due, now))
    print(json.dumps(late))


if __name__ == "__main__":
    main(int(sys.argv[1]))
