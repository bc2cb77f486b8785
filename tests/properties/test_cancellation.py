"""An emit that is cancelled, at any of its awaits, leaves the bus as it was."""

from contextvars import copy_context
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import assume, given
from hypothesis import strategies as st

from eventinit.author import current_author
from tests.interruption import Interruption, Steps, Way
from tests.properties.handlers_strategy import (
    EMITS,
    Emit,
    Handler,
    LabelledDownload,
    Question,
    handlers,
    make,
)
from tests.properties.model import modelled
from tests.properties.profile import examples
from tests.properties.stage import Stage

WAYS = [(backend, way) for backend in ("asyncio", "trio") for way in ("a scope, in a handler", "a scope")]
SETS = st.lists(
    handlers(kinds=["async", "async", "async", "awaitable", "plain", "thread"], once=False, timeouts=True, deeds=EMITS),
    min_size=1,
    max_size=5,
)
MOST_CALLS = 25
"""How many calls an emit may come to, nested ones included; it is made anew for each of its awaits."""
AFTERMATH = 5
"""How many times other tasks get their turn before it is judged that nothing goes on."""


class Watched:
    """A stage whose emits are watched by an async observer and one in a thread."""

    def __init__(self, handlers: list[Handler], interruption: Interruption) -> None:
        self.stage = Stage(handlers, interruption.at_pause)
        self.seen: dict[str, list[str]] = {"async": [], "thread": []}
        observe = self.stage.bus.observe
        note = self.seen["thread"].append
        self._observers = observe(Question, self._observe), observe(Question, lambda event: note(event.label))

    async def emit(self, label: str, emit: Emit) -> None:
        """Emit an event and look whether that changes the caller's context variables."""
        event = make(emit.event_type, label, emit.n)
        before = current_author.get(), dict(copy_context().items())
        try:
            await self.stage.emit(event)
        finally:
            if before != (current_author.get(), dict(copy_context().items())):
                self.stage.wrong.append(f"the context variables are others after {label}")
            if isinstance(event, LabelledDownload):
                event.context.custom_data["after"] = label
                self.stage.wrong += [f"{x} after {label}" for x in event.context.changes if "outside" not in x.handler]

    async def check_seen(self, label: str) -> None:
        """Look whether both observers have got an event, once they are through with what is queued."""
        with anyio.fail_after(30):
            for subscription in self._observers:
                await subscription.drained()
        if not all(label in labels for labels in self.seen.values()):
            self.stage.wrong.append(f"not all observers have got {label}")

    async def _observe(self, event: Question) -> None:
        await checkpoint()
        self.seen["async"].append(event.label)

    def calls(self, label: str) -> list[str]:
        """Return which handlers an emit, or one inside it, has called."""
        return [f"{called.removeprefix(label)} {name}" for called, name in self.stage.calls if is_of(called, label)]


def is_of(called: str, label: str) -> bool:
    """Return whether an event was emitted as, or by the handlers of, the one with a label."""
    return called.partition("/")[0] == label


@pytest.mark.parametrize(("backend", "way"), [*WAYS, ("asyncio", "the task")])
@given(handlers=SETS, emit=st.builds(Emit, st.sampled_from([Question, LabelledDownload]), st.integers(0, 1)))
@examples(30)
def test_an_emit_cancelled_at_any_await_leaves_the_bus_as_it_was(
    backend: str, way: Way, handlers: list[Handler], emit: Emit
) -> None:
    """The same emit then comes to the same, nobody runs for the cancelled one, observers still get their events."""
    alone = modelled(handlers, [emit])
    assume(len(alone.calls) <= MOST_CALLS)
    expected = [f"{label.removeprefix('0')} {name}" for label, name in alone.calls]

    steps = Steps()

    async def main() -> None:
        interruption = Interruption(way, steps)
        watched = Watched(handlers, interruption)
        async with watched.stage.bus:
            at = 0
            while at == 0 or interruption.struck:
                at += 1
                await interruption.run(partial(watched.emit, f"cut{at}", emit), at)
                assert watched.stage.in_threads == 0
                cut = watched.calls(f"cut{at}")
                for _ in range(AFTERMATH):
                    await checkpoint()
                assert watched.calls(f"cut{at}") == cut == expected[: len(cut)]
                if way != "a scope":  # which asyncio delivers a moment later, when the emit may be over
                    assert (f"cut{at}" in watched.stage.results) != interruption.struck
                assert watched.stage.results.get(f"cut{at}", alone.results["0"]) == alone.results["0"]
                await watched.emit(f"whole{at}", emit)
                assert watched.calls(f"whole{at}") == expected
                assert watched.stage.results[f"whole{at}"] == alone.results["0"]
                await watched.check_seen(f"whole{at}")
            assert f"cut{at}" in watched.stage.results
        assert watched.stage.wrong == []
        assert all(len(set(labels)) == len(labels) for labels in watched.seen.values())

    steps.run(main, backend)
