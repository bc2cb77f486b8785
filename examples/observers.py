"""Three independent observers of one start: one prints, one measures, one fails and then hangs for good.

    python examples/observers.py

Each observer has a queue and a task of its own, so the third disturbs neither the other two nor the start, which takes
as long as its steps do. The start runs on fakes.
"""

import asyncio
import logging
import sys
import time

from eventinit import EventBus, LLMConfig, initialize_node, observes
from eventinit.events import DownloadProgress, Event, LifecycleEvent, PostEvent
from eventinit.testing import FakeCluster, FakeEngineBackend, Fakes, FakeSource

# Closing a bus waits for observers to take what is queued, but no longer than this.
bus = EventBus(drain_timeout_s=0.3)


@bus.observe(LifecycleEvent)
def printer(event: LifecycleEvent) -> None:
    """Print each step. A plain function runs in a worker thread, so it may block."""
    how = f" ({event.outcome.status})" if isinstance(event, PostEvent) else ""
    print(f"printer  {type(event).__name__}{how}")


class Metrics:
    """Collect numbers; ``bus.attach`` subscribes the marked methods of an object."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_bytes_per_second = 0.0

    @observes(PostEvent)
    async def note_duration(self, event: PostEvent) -> None:
        if event.phase is not None:
            self.seconds[event.phase] = event.outcome.seconds

    @observes(DownloadProgress)
    async def note_rate(self, event: DownloadProgress) -> None:
        self.peak_bytes_per_second = max(self.peak_bytes_per_second, event.bytes_per_second)

    def report(self) -> None:
        for phase, seconds in self.seconds.items():
            print(f"metrics  {phase:<16} {seconds:6.2f} s")
        print(f"metrics  peak download    {self.peak_bytes_per_second / 1e6:6.1f} MB/s")


class Troublemaker:
    """Fail on the first event and hang on the second."""

    def __init__(self) -> None:
        self.seen = 0

    @observes(Event)
    async def misbehave(self, event: Event) -> None:
        self.seen += 1
        if self.seen == 1:
            raise RuntimeError(f"no idea what to do with {type(event).__name__}")
        print(f"trouble  hangs on {type(event).__name__}")
        await asyncio.Event().wait()


async def main() -> None:
    metrics, trouble = Metrics(), Troublemaker()
    bus.attach(metrics)
    bus.attach(trouble)
    fakes = Fakes(FakeSource(seconds=0.4), FakeCluster(ready_after_s=0.2), FakeEngineBackend(seconds=0.2))
    began = time.monotonic()
    async with initialize_node(LLMConfig(model_id="demo"), bus=bus, backends=fakes.backends()) as node:
        print(f"main     started in {time.monotonic() - began:.2f} s, running: {node.is_running}")
    metrics.report()
    print(
        f"main     the troublemaker took {trouble.seen} events and disturbed nobody; left over: {fakes.left_behind()}"
    )


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, format="log      %(message)s")
    asyncio.run(main())
