"""The five patterns of a callback class, one after another: change, measure, replace one step, tune, replace all.

    python examples/patterns.py

Each start runs on fakes (no GPU, no Ray, no model) and shows what the callback changed and what the engine then got.
The made-up cluster has two nodes: ``node-0`` is this one, ``node-1`` has four GPUs and is where groups are placed.
"""

import asyncio
import logging
import sys
import time

from eventinit import LLMConfig, NodeInitializationContext, initialize_node
from eventinit.testing import FakeCluster, FakeEngineBackend, FakeGroup, Fakes, FakeSource

Context = NodeInitializationContext


class FetchLessHere:
    """Pattern 1, change one thing: the workers run elsewhere, so this node needs no weights."""

    def on_pre_download(self, ctx: Context) -> None:
        ctx.local_node_download_model = "TOKENIZER_ONLY"


class Stopwatch:
    """Pattern 2, keep metrics: one instance gets all hooks of a start, so it may hold state between them."""

    def __init__(self) -> None:
        self.began = 0.0

    def on_pre_initialization(self, _ctx: Context) -> None:
        self.began = time.monotonic()

    def on_post_initialization(self, _ctx: Context) -> None:
        print(f"  stopwatch  the start took {time.monotonic() - self.began:.2f} s")


class OwnPlacementGroup:
    """Pattern 3, replace one step: supply a placement group and skip the default one."""

    def on_pre_placement_group(self, ctx: Context) -> bool:
        ctx.placement_group = FakeGroup([{"GPU": 2.0}], ["node-1"])
        return False


class FourGPUs:
    """Pattern 4, tune the engine. By now one worker's bundle is reserved, so this start reserves a second time.

    In ``on_pre_initialization`` the new number of workers is known in time; the log says so when you run this.
    """

    def on_pre_engine_init(self, ctx: Context) -> None:
        ctx.extra_init_kwargs.update({"gpu_memory_utilization": 0.95, "tensor_parallel_size": 4})


class BringEverything:
    """Pattern 5, replace everything: no download and no reservation, the engine starts with what is set here."""

    def on_pre_initialization(self, ctx: Context) -> bool:
        ctx.placement_group = FakeGroup([{"GPU": 1.0}], ["node-1"])
        ctx.runtime_env = {"env_vars": {"NCCL_DEBUG": "WARN"}}
        ctx.extra_init_kwargs = {"model": "/models/in-the-image", "max_model_len": 4096}
        return False


PATTERNS = (FetchLessHere, Stopwatch, OwnPlacementGroup, FourGPUs, BringEverything)


def fakes() -> Fakes:
    cluster = FakeCluster(
        resources=[{"CPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}], group_nodes=["node-1"], ready_after_s=0.05
    )
    return Fakes(FakeSource(seconds=0.1), cluster, FakeEngineBackend(seconds=0.1))


async def run(number: int, callback: type[object]) -> None:
    """Start a node with the callback, and print what came of it."""
    print(f"\nPattern {number}: {callback.__name__}")
    world = fakes()
    async with initialize_node(LLMConfig(model_id="demo", callback_class=callback), backends=world.backends()) as node:
        for change in node.context.changes:
            if change.handler.startswith(callback.__name__):
                print(f"  changed    {change}")
        show("phases", [f"{span.phase} {span.status}" for span in node.timeline.spans])
        show("vetoed", [span.phase for span in node.timeline.spans if span.status == "vetoed"])
        fetched = [f"{mode} on node-0" for mode in world.source.fetched]
        fetched += [f"{mode} on {place}" for place, mode in world.cluster.fetched_on]
        show("fetched", list(dict.fromkeys(fetched)))
        show("reserved", [f"{len(group.bundles)} bundle(s)" for group in world.cluster.groups])
        request = world.engine.engines[0].request
        show("engine", [f"{name}={value}" for name, value in request.arguments.items()])
    if isinstance(request.group, FakeGroup):
        show("group", [f"{request.group.bundles}, {'removed' if request.group.removed else 'left to its owner'}"])
    show("left over", world.left_behind())


def show(what: str, items: list[str]) -> None:
    print(f"  {what:<10} {', '.join(items) or 'nothing'}")


async def main() -> None:
    began = time.monotonic()
    for number, callback in enumerate(PATTERNS, start=1):
        await run(number, callback)
    print(f"\n{len(PATTERNS)} nodes started and stopped in {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, format="  log        %(message)s")
    asyncio.run(main())
