"""Which handlers run, in what order, and what comes of it, compared with a plain sorted list."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.handlers_strategy import EMITS, Emit, Handler, Kind, handlers, make
from tests.properties.model import modelled
from tests.properties.profile import examples
from tests.properties.stage import Stage

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])

WITH_THREADS: tuple[Kind, ...] = ("async", "async", "async", "plain", "plain", "awaitable", "thread")
SETS = st.lists(handlers(kinds=WITH_THREADS), max_size=10)
LASTING_SETS = st.lists(handlers(once=False), max_size=8)


def staged(backend: str, handlers: Sequence[Handler], emits: Sequence[Emit]) -> Stage:
    """Return what the bus makes of emits one after another."""

    async def main() -> Stage:
        stage = Stage(handlers)
        for number, emit in enumerate(emits):
            await stage.do(emit, f"{number}")
        return stage

    return anyio.run(main, backend=backend)


@given(handlers=SETS, emits=st.lists(EMITS, min_size=1, max_size=4))
@examples(150)
def test_handlers_run_by_priority_and_then_in_the_order_of_subscription(
    backend: str, handlers: list[Handler], emits: list[Emit]
) -> None:
    """One order across an event's class and all of its bases; each handler once, whatever the others do."""
    stage = staged(backend, handlers, emits)
    assert stage.calls == modelled(handlers, emits).calls
    assert stage.wrong == []
    assert stage.missing() == []


@given(handlers=SETS, emits=st.lists(EMITS, min_size=1, max_size=4))
@examples(150)
def test_the_outcome_is_what_the_handlers_said(backend: str, handlers: list[Handler], emits: list[Emit]) -> None:
    """Vetoes and logged failures in the order of the handlers, or the first failure raised with the others attached."""
    assert staged(backend, handlers, emits).results == modelled(handlers, emits).results


@given(handlers=LASTING_SETS, emits=st.lists(EMITS, min_size=2, max_size=6))
@examples(150)
def test_emits_that_interleave_come_to_what_each_comes_to_alone(
    backend: str, handlers: list[Handler], emits: list[Emit]
) -> None:
    async def main() -> Stage:
        stage = Stage(handlers)
        async with anyio.create_task_group() as tasks:
            for number, emit in enumerate(emits):
                tasks.start_soon(stage.emit, make(emit.event_type, f"{number}", emit.n))
        return stage

    stage, alone = anyio.run(main, backend=backend), modelled(handlers, emits)
    assert stage.results == alone.results
    for number in range(len(emits)):
        own = [call for call in stage.calls if call[0] == f"{number}"]
        assert own == [call for call in alone.calls if call[0] == f"{number}"]
