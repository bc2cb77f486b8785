"""Catch whoever blocks an event loop, and measure how late it ever was."""

import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

PACKAGE = str(Path(__file__).parents[1])
SAMPLE_S = 0.02
SAMPLES_IN_ONE_PLACE = 6
BEAT_S = 0.01


@dataclass(slots=True)
class LoopWatch:
    """What was seen of an event loop.

    Attributes:
        blocked: The stack of each place in our own code where the loop's thread stood still, once each.
        lags: When (``time.time``) the loop was how many seconds late.
    """

    blocked: list[str] = field(default_factory=list[str])
    lags: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def worst_lag_s(self, began: float, ended: float) -> float:
        """Return the largest lag between two times."""
        return max((lag for at, lag in self.lags if began <= at <= ended), default=0.0)


@asynccontextmanager
async def watch_loop() -> AsyncGenerator[LoopWatch]:
    """Watch the event loop from outside and inside while the block runs.

    Importing vLLM in a thread keeps the interpreter lock and makes any loop late, wherever that stands. A blocking call
    of our own is told from it by the place: the loop's thread is found in the same line of ours again and again.
    """
    watch, over = LoopWatch(), threading.Event()
    sampler = threading.Thread(target=_sample, args=(threading.get_ident(), watch, over), daemon=True)
    sampler.start()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_beat, watch)
            yield watch
            group.cancel_scope.cancel()
    finally:
        over.set()
        sampler.join()


async def _beat(watch: LoopWatch) -> None:
    while True:
        began = time.perf_counter()
        await anyio.sleep(BEAT_S)
        watch.lags.append((time.time(), time.perf_counter() - began - BEAT_S))


def _sample(thread_id: int, watch: LoopWatch, over: threading.Event) -> None:
    last, count = "", 0
    while not over.wait(SAMPLE_S):
        frame = sys._current_frames().get(thread_id)  # pyright: ignore[reportPrivateUsage]
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        innermost = traceback.extract_stack(frame)[-1] if frame else None
        waits = innermost is not None and innermost.name == "select"
        count = count + 1 if stack == last and not waits else 0
        last = stack
        if count == SAMPLES_IN_ONE_PLACE and _is_ours(stack):
            watch.blocked.append(stack)


def _is_ours(stack: str) -> bool:
    return any(f'File "{PACKAGE}/{part}' in stack for part in ("eventinit/", "events/", "handlers/"))
