"""Starts on one bus, each cancelled at one point of its life, told as JSON on standard output.

Two Ray nodes with fake GPUs hold a worker of the engine each, so that the other node fetches the model too. See
test_cancelled_start.py. A process of its own, since a process has one platform of vLLM.
"""

import asyncio
import faulthandler
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Literal, final

from eventinit import EventBus, LLMConfig, PlacementGroupConfig, initialize_node
from eventinit.config import DownloadConfig
from eventinit.events import (
    DownloadProgress,
    PlacementPending,
    PostEngineInit,
    PostNodeDownload,
    PostPlacementGroup,
    PreDownload,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
    PreShutdown,
    StartEvent,
)
from eventinit.preload import preload
from tests.pairing import assert_paired
from tests.real.cluster_start import BUNDLE, CLOSED_GATE, TwoNodes, answer
from tests.real.environment import TINY_ENGINE
from tests.real.remains import Remains

ENDS_WITHIN_S = 20.0
"""Ray ends the workers of a job that is over in its own time."""
PATIENCE_S = 120.0
POLL_S = 0.02

Kind = Literal["whole", "alone", "slow", "gated"]
BUNDLES: dict[Kind, Sequence[Mapping[str, float]]] = {
    "whole": (BUNDLE, BUNDLE),
    "alone": ({"CPU": 1, "first": 1},),
    "slow": (BUNDLE, BUNDLE),
    "gated": (BUNDLE, BUNDLE, CLOSED_GATE),
}
Look = Callable[["Trials"], bool]


@final
@dataclass(frozen=True, slots=True)
class Point:
    """A moment in the life of a start.

    Attributes:
        name: What goes on then.
        kind: ``alone``: the engine has one worker, on this node; ``slow``: the model takes minutes to come;
            ``gated``: so it does, and the group cannot be placed.
        event: A handler of this event cancels, when ``fits`` says so.
        seen: What is observed cancels; where there is an event too, after it.
        again: What is observed then cancels once more.
    """

    name: str
    kind: Kind = "whole"
    event: type[StartEvent] | None = None
    fits: Callable[[Any], bool] = lambda _event: True
    seen: Look | None = None
    again: Look | None = None


def joins_ray(_trials: "Trials") -> bool:
    return any(thread.name == "eventinit-ray" for thread in threading.enumerate())


def has_a_group(trials: "Trials") -> bool:
    return bool(trials.cluster.living_groups())


def has_a_folder(_trials: "Trials") -> bool:
    return any(Path(tempfile.gettempdir()).glob("eventinit-*")) or "eventinit-" in tempfile.gettempdir()


def has_a_core(_trials: "Trials") -> bool:
    return any(child.name.startswith("EngineCore") for child in multiprocessing.active_children())


def has_no_core(trials: "Trials") -> bool:
    return not has_a_core(trials)


def has_workers(trials: "Trials") -> bool:
    return bool(trials.cluster.living_actors())


def has_living_workers(trials: "Trials") -> bool:
    return len(trials.cluster.living_actors("ALIVE")) == 2


def answers(trials: "Trials") -> bool:
    return bool(trials.answers)


def at_once(_trials: "Trials") -> bool:
    return True


def has_begun_here(event: DownloadProgress) -> bool:
    return not event.node_id and event.bytes_done > 0


def has_begun_elsewhere(event: DownloadProgress) -> bool:
    return bool(event.node_id) and event.bytes_done > 0


POINTS = (
    Point("it joins Ray", seen=joins_ray),
    Point("PreInitialization", event=PreInitialization),
    Point("PreDownload", event=PreDownload),
    Point("the first bytes have come", "slow", event=DownloadProgress, fits=has_begun_here),
    Point("PrePlacementGroup", event=PrePlacementGroup),
    Point("the group is asked for", "gated", seen=has_a_group),
    Point("the group waits", "gated", event=PlacementPending),
    Point("another node fetches while the group waits", "gated", event=DownloadProgress, fits=has_begun_elsewhere),
    Point("PostPlacementGroup", event=PostPlacementGroup),
    Point("this node has fetched", event=PostNodeDownload),
    Point("the other node of the group fetches", "slow", event=DownloadProgress, fits=has_begun_elsewhere),
    Point("both nodes fetch; again at once", "slow", DownloadProgress, has_begun_elsewhere, again=at_once),
    Point("PreEngineInit", event=PreEngineInit),
    Point("the engine's folder is there", event=PreEngineInit, seen=has_a_folder),
    Point("the engine's core boots", seen=has_a_core),
    Point("the engine's workers are asked for", seen=has_workers),
    Point("its workers boot; again when its core is gone", seen=has_living_workers, again=has_no_core),
    Point("PostEngineInit", "alone", event=PostEngineInit),
    Point("the node answers", seen=answers),
    Point("the shutdown, when the engine's core is gone", "alone", event=PreShutdown, seen=has_no_core),
)
WARM_UP = POINTS[10]


@final
class Strikes:
    """The cancellations of the task in which a start lives."""

    def __init__(self, point: Point, trials: "Trials", living: "asyncio.Task[None]") -> None:
        self.times: list[float] = []
        self._point = point
        self._trials = trials
        self._living = living
        self._event_came = asyncio.Event()
        self._first = asyncio.Event()

    @contextmanager
    def under_way(self, bus: EventBus) -> Generator[None]:
        """Strike when the time has come."""
        watching = asyncio.create_task(self._watch())
        watching.add_done_callback(self._on_watched)
        subscription = bus.on(self._point.event or StartEvent, self._on_event, priority=-1000)
        try:
            with subscription:
                yield
        finally:
            if watching.done():
                watching.result()
            watching.cancel()

    def _on_watched(self, watching: "asyncio.Task[None]") -> None:
        # A start that nobody cancels any more would live for ever.
        if not watching.cancelled() and watching.exception():
            self._living.cancel()

    def _on_event(self, event: Any) -> None:
        if self._point.event is not None and not self._event_came.is_set() and self._point.fits(event):
            self._event_came.set()
            if self._point.seen is None:
                self._strike()

    async def _watch(self) -> None:
        if self._point.event is not None:
            await self._event_came.wait()
        if self._point.seen is not None:
            await self._seen(self._point.seen)
            self._strike()
        await self._first.wait()
        if self._point.again is not None:
            await self._seen(self._point.again)
            self._strike()

    async def _seen(self, look: Look) -> None:
        while not await asyncio.to_thread(look, self._trials):  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(POLL_S)

    def _strike(self) -> None:
        if self._living.cancel():
            self.times.append(time.monotonic())
        self._first.set()


@final
class Trials:
    """Starts on one bus and one cluster, one after the other."""

    def __init__(self, cluster: TwoNodes, tiny: str, large: str) -> None:
        self.cluster = cluster
        self.answers: list[str] = []
        self._tiny, self._large = tiny, large
        self._bus = EventBus()
        self._fired: list[StartEvent] = []
        self._bus.on(StartEvent, self._fired.append, priority=1000)
        self.compare_from_now_on()

    def compare_from_now_on(self) -> None:
        """Take what there is now for what was there before the starts."""
        self._remains = Remains(self.cluster)

    async def cancelled_at(self, point: Point) -> dict[str, Any]:
        """Run a start that is cancelled at a point, and tell how it ended and what is left of it."""
        began = time.monotonic()
        living = asyncio.create_task(self._live(point, for_ever=point.event is not PreShutdown))
        strikes = Strikes(point, self, living)
        print(f"cancelled at: {point.name}", file=sys.stderr)
        with strikes.under_way(self._bus):
            await self._over(living)
        ended = time.monotonic()
        return await self._told(living) | {
            "strikes": len(strikes.times),
            "struck after": round(strikes.times[0] - began, 1) if strikes.times else None,
            "ended within": round(ended - strikes.times[0], 1) if strikes.times else None,
        }

    async def undisturbed(self) -> dict[str, Any]:
        """Run a whole start, have it answer, and tell what is left of it."""
        living = asyncio.create_task(self._live(POINTS[-1], for_ever=False))
        await self._over(living)
        return await self._told(living)

    async def _over(self, living: "asyncio.Task[None]") -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (await asyncio.wait([living], timeout=0.2))[0]:
                    await asyncio.to_thread(self._remains.note_shared_memory)
        except TimeoutError:
            print_what_hangs()
            raise

    async def _live(self, point: Point, *, for_ever: bool) -> None:
        self._fired.clear()
        self.answers.clear()
        async with initialize_node(self._config(point), bus=self._bus) as node:
            self.answers.append(await answer(node))
            while for_ever:
                self.answers.append(await answer(node))

    def _config(self, point: Point) -> LLMConfig:
        is_slow = point.kind in {"slow", "gated"}
        # Of its own, or the nodes would fetch only once between them.
        variables = {"EVENTINIT_CACHE": os.environ["EVENTINIT_CACHE"] + "/other"} if is_slow else {}
        download = DownloadConfig(
            max_bandwidth=500_000 if is_slow else None, prefetch="candidates" if point.kind == "gated" else "none"
        )
        return LLMConfig(
            model_id="tiny",
            model_source=self._large if is_slow else self._tiny,
            ray_address=self.cluster.address,
            runtime_env={"env_vars": variables},
            placement_group_config=PlacementGroupConfig(
                bundles=tuple(map(dict, BUNDLES[point.kind])), strategy="SPREAD"
            ),
            download=download,
            engine_kwargs={**TINY_ENGINE, "tensor_parallel_size": 1 if point.kind == "alone" else 2},
        )

    async def _told(self, living: "asyncio.Task[None]") -> dict[str, Any]:
        error = asyncio.CancelledError() if living.cancelled() else living.exception()
        assert_paired(self._fired)
        ended = time.monotonic()
        left = await self._left()
        return {
            "error": error and f"{type(error).__name__}: {error}".removesuffix(": "),
            "last event": type(self._fired[-1]).__name__ if self._fired else None,
            "answers": len(self.answers),
            "bus is open": self._bus.is_open,
            "left": left,
            "kept": self._remains.kept(),
            "gone within": round(time.monotonic() - ended, 1),
        }

    async def _left(self) -> dict[str, list[str]]:
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            found = {kind: names for kind, names in (await self._remains.found()).items() if names}
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)


def print_what_hangs() -> None:
    """Write where every task and every thread is."""
    for task in asyncio.all_tasks():
        print(f"task {task.get_name()}:", file=sys.stderr)
        awaited: Any = task.get_coro()
        while frame := getattr(awaited, "cr_frame", None):
            print(f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}", file=sys.stderr)
            awaited = awaited.cr_await
    faulthandler.dump_traceback()


async def main(tiny: str, large: str, names: list[str], cluster: TwoNodes) -> dict[str, Any]:
    trials = Trials(cluster, tiny, large)
    # What Python, Ray and obstore keep for as long as the process lives is there from the first time on.
    resource_tracker.ensure_running()
    await trials.cancelled_at(WARM_UP)
    trials.compare_from_now_on()
    told = {point.name: await trials.cancelled_at(point) for point in POINTS if point.name in names}
    if len(names) == len(POINTS):
        told["the next start"] = await trials.undisturbed()
    return told


if __name__ == "__main__":
    preload()
    two_nodes = TwoNodes()
    try:
        two_nodes.close_the_gate()
        print("REPORT " + json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:], two_nodes))), flush=True)
    finally:
        two_nodes.shutdown()
