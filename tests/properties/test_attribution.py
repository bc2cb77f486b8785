"""Every change of a context is known by the handler and the event that made it."""

from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from eventinit import EventBus, LLMConfig, NodeInitializationContext
from eventinit.events import LifecycleEvent, PreDownload, PreEngineInit, PrePlacementGroup
from tests.properties.profile import examples

PATHS = ["custom_data.a.x.b", "custom_data.a.x.c", "custom_data.d", "extra_init_kwargs.seed", "runtime_env.env_vars.X"]


@dataclass(frozen=True, slots=True)
class Writer:
    """A handler that writes to a context; it gives way to the others before each write and at the end.

    Attributes:
        emits: Whether it emits ``PreEngineInit`` with the same context before its last write.
    """

    event_type: type[LifecycleEvent]
    kind: str
    priority: int
    pauses: int
    paths: tuple[str, ...]
    emits: bool
    fails: bool


WRITERS = st.builds(
    Writer,
    event_type=st.sampled_from([PreDownload, PrePlacementGroup, PreEngineInit, LifecycleEvent]),
    kind=st.sampled_from(["async", "async", "async", "plain", "plain", "thread"]),
    priority=st.integers(-1, 1),
    pauses=st.integers(0, 3),
    paths=st.lists(st.sampled_from(PATHS), max_size=3).map(tuple),
    emits=st.booleans(),
    fails=st.booleans(),
)


class Scene:
    """A bus, a context, and handlers that note what they write."""

    def __init__(self, writers: list[Writer]) -> None:
        self.bus = EventBus()
        self.context = NodeInitializationContext(LLMConfig(model_id="tiny"))
        self.context.custom_data["a"] = {"x": {}}
        self.context.runtime_env["env_vars"] = {}
        self.prepared = len(self.context.changes)
        self.written: list[tuple[str, str, str, str]] = []
        for number, writer in enumerate(writers):
            call: Any = self._function(writer, f"w{number}")
            options: dict[str, Any] = {"thread": writer.kind == "thread", "priority": writer.priority}
            self.bus.on(writer.event_type, call, name=f"w{number}", on_error="log", **options)

    def write(self, path: str, name: str, event: str) -> None:
        """Set what a path leads to, to what no other write sets it to."""
        field, *keys, last = path.split(".")
        place = getattr(self.context, field)
        for key in keys:
            place = place[key]
        value = f"{name} on {event}, {len(self.written)}"
        self.written.append((path, value, name, event))
        place[last] = value

    def _function(self, writer: Writer, name: str) -> Any:
        async def asynchronous(event: LifecycleEvent) -> None:
            for index, path in enumerate(writer.paths):
                for _ in range(writer.pauses):
                    await checkpoint()
                if writer.emits and index == len(writer.paths) - 1 and not isinstance(event, PreEngineInit):
                    await self.bus.emit(PreEngineInit(context=self.context))
                self.write(path, name, type(event).__name__)
            await checkpoint()
            if writer.fails:
                raise RuntimeError(name)

        def plain(event: LifecycleEvent) -> None:
            for path in writer.paths:
                self.write(path, name, type(event).__name__)
            if writer.fails:
                raise RuntimeError(name)

        return asynchronous if writer.kind == "async" else plain


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(writers=st.lists(WRITERS, min_size=1, max_size=8))
@examples(100)
def test_every_change_is_attributed_to_the_handler_and_the_event_that_made_it(
    backend: str, writers: list[Writer]
) -> None:
    """Two events are under way with one context, their handlers take turns, and some emit a third inside."""

    async def main() -> Scene:
        scene = Scene(writers)
        async with anyio.create_task_group() as tasks:
            for kind in (PreDownload, PrePlacementGroup):
                tasks.start_soon(scene.bus.emit, kind(context=scene.context))
            for _ in range(2):
                await checkpoint()
                scene.write("custom_data.d", "code outside a handler", "no event")
        return scene

    scene = anyio.run(main, backend=backend)
    made = [(change.path, change.new, change.handler, change.event) for change in scene.context.changes]
    assert made[scene.prepared :] == scene.written
    for path in PATHS:
        mine = [value for written, value, *_rest in scene.written if written == path]
        assert [change.new for change in scene.context.changed_by(path)] == mine
