"""A start with everything that a start can have."""

from typing import Any, final

from anyio.lowlevel import checkpoint

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, NodeInitializer, initialize_node
from eventinit.events import (
    CATALOGUE,
    EngineDied,
    PhaseFailed,
    PlacementPending,
    PreDownload,
    PreEngineInit,
    PrePlacementGroup,
    StartEvent,
)
from eventinit.ports import Backends
from eventinit.testing import FakeCluster, Fakes
from tests.pairing import assert_paired
from tests.start.places import Noted, Places
from tests.start.surroundings import Surroundings

FIRST = 10_000
"""The priority of what records the events: it sees each that is emitted, whatever its other handlers do."""


class Callback:
    """A callback class with hooks in a thread and on the loop."""

    def __init__(self, places: Places) -> None:
        places.come_to("constructor of the callback")
        self._places = places

    def on_pre_initialization(self, _context: NodeInitializationContext) -> None:
        self._places.come_to("hook in a thread on PreInitialization")

    def on_pre_download(self, _context: NodeInitializationContext) -> None:
        self._places.come_to("hook in a thread on PreDownload")

    async def on_post_placement_group(self, _context: NodeInitializationContext) -> None:
        await checkpoint()
        self._places.come_to("hook on PostPlacementGroup")


@final
class Rehearsal:
    """Starts nodes on a bus with handlers, observers and a callback class, on a cluster of two nodes.

    A handler asks for a worker more when the group is there, so the group is replaced.

    Attributes:
        fired: The events in the order in which they were emitted.
    """

    def __init__(self) -> None:
        self.places = Places()
        self.bus = EventBus()
        self.fired: list[StartEvent] = []
        self.fakes = Fakes(cluster=FakeCluster(resources=[{"CPU": 8.0}] * 2, group_nodes=["node-0", "node-1"]))
        self.config = LLMConfig(
            model_id="tiny",
            engine_kwargs={"tensor_parallel_size": 2},
            callback_class=Callback,
            callback_kwargs={"places": self.places},
            ray_address="fake-cluster:0",
            initialization_timeout_s=600.0,
            download_timeout_s=600.0,
        )
        self._subscribe()
        self._subscribers = self._names()
        self._surroundings = Surroundings()

    def begin(self, failures: dict[str, BaseException] | None = None) -> None:
        """Forget what was recorded, and fail from now on as told."""
        self.fired.clear()
        self.places.begin(failures)

    def initializer(self) -> NodeInitializer:
        """Return what starts a node."""
        return NodeInitializer(self.config, self.bus, backends=self._backends())

    async def play(self) -> None:
        """Start a node, use it, and end it."""
        async with initialize_node(self.config, bus=self.bus, backends=self._backends()) as node:
            async for _ in node.engine.generate("one two", None, "0"):
                pass

    async def assert_over(self) -> None:
        """Say that a start is over: its events came in pairs, nothing is left of it, and the next one works."""
        await self.assert_nothing_is_left()
        self.begin()
        await self.play()
        assert {type(event) for event in self.fired} == set(CATALOGUE) - {PlacementPending, PhaseFailed, EngineDied}
        await self.assert_nothing_is_left()

    def outside(self) -> list[str]:
        """Return what the starts so far have left outside of the event loop, in words."""
        return self._surroundings.outside()

    async def assert_nothing_is_left(self) -> None:
        """Say that the events of a start came in pairs, and that nothing is left of it."""
        assert_paired(self.fired)
        left = [*self.fakes.left_behind(), *await self._surroundings.running()]
        assert not left, left
        assert self._names() == self._subscribers

    def _names(self) -> list[str]:
        return [status.name for status in self.bus.subscribers()]

    def _backends(self) -> Backends:
        def open_source(*_args: Any, **_kwargs: Any) -> Any:
            self.places.come_to("open_source")
            return Noted(self.fakes.source, "source", self.places)

        cluster: Any = Noted(self.fakes.cluster, "cluster", self.places)
        engine: Any = Noted(self.fakes.engine, "engine", self.places)
        return Backends(open_source=open_source, cluster=lambda: cluster, engine=engine)

    def _subscribe(self) -> None:
        self.bus.on(StartEvent, self.fired.append, priority=FIRST)
        for event_type in CATALOGUE:
            if event_type is not EngineDied:
                self.bus.on(event_type, self._handler)
        self.bus.on(PreDownload, self._in_a_thread, thread=True)
        self.bus.on(PrePlacementGroup, self._in_time, timeout=600.0)
        self.bus.on(PreEngineInit, self._in_a_thread, thread=True, timeout=600.0)
        self.bus.on(PreEngineInit, self._one_worker_more)
        self.bus.observe(Event, self._observer)
        self.bus.observe(PreDownload, lambda _event: self.places.come_to("observer in a thread"))

    async def _handler(self, event: Event) -> None:
        await checkpoint()
        self.places.come_to(f"handler of {type(event).__name__}")

    def _one_worker_more(self, event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["tensor_parallel_size"] = 3

    async def _in_time(self, event: Event) -> None:
        await checkpoint()
        self.places.come_to(f"handler with a timeout of {type(event).__name__}")

    def _in_a_thread(self, event: Event) -> None:
        self.places.come_to(f"handler in a thread of {type(event).__name__}")

    async def _observer(self, event: Event) -> None:
        await checkpoint()
        self.places.come_to(f"observer of {type(event).__name__}")
