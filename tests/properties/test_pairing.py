"""However a start goes, each of its phases that began is ended by one event, and nothing is left of it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from eventinit import Event, EventBus, LLMConfig, Veto, initialize_node
from eventinit.errors import EngineError, EventInitError, PlacementError, StoreUnavailableError
from eventinit.events import CATALOGUE, EngineDied, StartEvent
from eventinit.testing import Fakes
from tests.pairing import assert_paired
from tests.properties.profile import examples

Act = Literal["fail", "log", "veto", "false", "cancel the scope", "cancel the task", "pause"]
FIRST = 10_000
"""The priority of what takes the record: it is there for every event that fires, whatever its other handlers do."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """A handler of a start, and what it does after so many turns of the other tasks."""

    event_type: type[Event]
    act: Act
    kind: Literal["async", "plain", "thread"]
    pauses: int
    priority: int


ACTS: list[Act] = ["fail", "log", "veto", "false", "cancel the scope", "cancel the task", "pause"]
MISHAPS = st.builds(
    Mishap,
    event_type=st.sampled_from([kind for kind in CATALOGUE if kind is not EngineDied]),
    act=st.sampled_from(ACTS),
    kind=st.sampled_from(["async", "async", "async", "plain", "plain", "thread"]),
    pauses=st.integers(0, 4),
    priority=st.integers(-1, 1),
)


class Trial:
    """One start on the fakes with mishaps, and the record of its events."""

    def __init__(self, mishaps: list[Mishap], broken: str, *, on_asyncio: bool) -> None:
        self.bus = EventBus()
        self.fakes = Fakes()
        self.scope = anyio.CancelScope()
        self.fired: list[StartEvent] = []
        self._task = asyncio.current_task() if on_asyncio else None
        self.fakes.source.fails_with = (
            StoreUnavailableError("s3://models/tiny", "does not answer") if broken == "source" else None
        )
        self.fakes.cluster.fails_with = PlacementError("no") if broken == "cluster" else None
        self.fakes.engine.fails_with = EngineError("no") if broken == "engine" else None
        self.bus.on(StartEvent, self.fired.append, priority=FIRST)
        for mishap in mishaps:
            call: Any = self._function(mishap)
            on_error: Literal["raise", "log"] = "log" if mishap.act == "log" else "raise"
            options: dict[str, Any] = {"thread": mishap.kind == "thread", "priority": mishap.priority}
            self.bus.on(mishap.event_type, call, on_error=on_error, **options)

    async def start(self) -> None:
        """Start the node and end it again, unless that fails or is cancelled."""
        with self.scope:
            try:
                async with initialize_node(LLMConfig(model_id="tiny"), bus=self.bus, backends=self.fakes.backends()):
                    await checkpoint()
            except EventInitError:
                return

    def _function(self, mishap: Mishap) -> Any:
        def act(_event: Event) -> Any:
            if mishap.act in {"fail", "log"}:
                raise RuntimeError(mishap.act)
            if mishap.act.startswith("cancel"):
                self._cancel(mishap)
            return {"veto": Veto("no"), "false": False}.get(mishap.act)

        async def asynchronous(event: Event) -> Any:
            for _ in range(mishap.pauses):
                await checkpoint()
            answer = act(event)
            await checkpoint()
            return answer

        return asynchronous if mishap.kind == "async" else act

    def _cancel(self, mishap: Mishap) -> None:
        if mishap.act == "cancel the scope" or self._task is None:
            cancel: Any = self.scope.cancel
        else:
            cancel = self._task.cancel
        if mishap.kind == "thread":
            anyio.from_thread.run_sync(cancel)
        else:
            cancel()


async def run_trial(mishaps: list[Mishap], broken: str, backend: str) -> Trial:
    """Return a trial that is over, made in a task of its own, which it may cancel."""
    trials: list[Trial] = []

    async def main() -> None:
        trials.append(Trial(mishaps, broken, on_asyncio=backend == "asyncio"))
        await trials[0].start()

    if backend == "asyncio":
        await asyncio.wait([task := asyncio.create_task(main())])
        assert task.cancelled() or task.exception() is None, repr(task.exception())
    else:
        await main()
    return trials[0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    mishaps=st.lists(MISHAPS, max_size=5),
    broken=st.sampled_from(["nothing", "nothing", "nothing", "source", "cluster", "engine"]),
)
@examples(150)
def test_each_phase_that_began_is_ended_by_one_event_and_nothing_is_left(
    backend: str, mishaps: list[Mishap], broken: str
) -> None:
    trial = anyio.run(run_trial, mishaps, broken, backend, backend=backend)
    assert_paired(trial.fired)
    assert trial.fakes.left_behind() == []
    assert not trial.bus.is_open
