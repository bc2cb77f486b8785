"""One whole start on real parts in a process of its own, told as JSON on standard output: see test_whole_start.py."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from eventinit import EventBus, LLMConfig, Node, initialize_node
from eventinit.backends.vllm_engine import VLLMEngine
from eventinit.cli.prompt import answer
from eventinit.events import PreEngineInit, PrePlacementGroup, StartEvent, to_json
from tests.blocked_loop import LoopWatch, watch_loop
from tests.real.environment import TINY_ENGINE, processes_of_a_node

PROMPT = "the quick brown fox"


async def main(model_source: str) -> dict[str, Any]:
    """Start, ask and stop a node while the event loop is watched."""
    events: list[str] = []
    bus = EventBus()
    bus.on(StartEvent, lambda event: events.append(to_json(event)))
    bus.on(PreEngineInit, lambda event: event.context.extra_init_kwargs.update(max_model_len=64))
    bus.on(PrePlacementGroup, lambda event: event.context.custom_data.update(seen=True))
    config = LLMConfig(model_id="tiny", model_source=model_source, engine_kwargs=TINY_ENGINE)
    stages: dict[str, tuple[float, float]] = {}
    async with watch_loop() as watch:
        began = time.time()
        # Apart from the start, so that its lags are told apart from those of the reservation, beside which it runs.
        await VLLMEngine().argument_names()
        stages["import"] = (began, time.time())
        async with initialize_node(config, bus=bus) as node:
            report = await use(node)
            leaving = time.time()
        stages["shutdown"] = (leaving, time.time())
    stages |= stages_of(events)
    return report | {
        "events": events,
        "blocked": watch.blocked,
        "lags_s": lags(watch, stages),
        "processes_left": processes_of_a_node(psutil.Process()),
    }


async def use(node: Node) -> dict[str, Any]:
    """Return what can be told of a running node."""
    result = node.context.download_result
    assert result is not None
    return {
        "answer": await answer(node.engine, PROMPT),
        "max_model_len": node.engine.model_config.max_model_len,
        "path": str(result.path),
        "changes": [str(change) for change in node.context.changes],
        "overlap_s": node.timeline.overlap_s("fetch", "placement_group"),
    }


def stages_of(events: list[str]) -> dict[str, tuple[float, float]]:
    """Return when reservation and engine start began and ended."""
    at = {item["event"]: item["data"]["at"] for item in map(json.loads, events)}
    return {
        "reservation": (at["PrePlacementGroup"], at["PostPlacementGroup"]),
        "engine start": (at["PreEngineInit"], at["PostEngineInit"]),
    }


def lags(watch: LoopWatch, stages: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Return the event loop's worst lag in each stage."""
    return {name: round(watch.worst_lag_s(*span), 3) for name, span in stages.items()}


if __name__ == "__main__":
    told = asyncio.run(main(sys.argv[1]))
    told["folders_left"] = [path.name for path in Path(os.environ["TMPDIR"]).glob("eventinit-*")]
    print("REPORT " + json.dumps(told))
