"""Handlers that subscribe, cancel and emit while an event is under way."""

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.handlers_strategy import CANCELS, DEEDS, EMITS, Deed, Emit, Handler, Subscribe, handlers
from tests.properties.model import modelled, name_of, wants
from tests.properties.profile import examples
from tests.properties.stage import Stage

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])

SETS = st.lists(handlers(deeds=DEEDS), min_size=1, max_size=6)
STEPS = st.one_of(EMITS, EMITS, CANCELS, st.builds(Subscribe, handlers(deeds=DEEDS)))
PROGRAMS = st.lists(STEPS, min_size=1, max_size=6)


@given(handlers=SETS, program=PROGRAMS)
@examples(150)
def test_whatever_handlers_do_meanwhile_the_calls_and_outcomes_are_as_documented(
    backend: str, handlers: list[Handler], program: list[Deed]
) -> None:
    """What is cancelled is not called any more, what is new is called by the next emit, a nested one included."""

    async def main() -> Stage:
        stage = Stage(handlers)
        for number, step in enumerate(program):
            await stage.do(step, f"{number}")
        return stage

    stage, model = anyio.run(main, backend=backend), modelled(handlers, program)
    assert stage.calls == model.calls
    assert stage.results == model.results
    assert stage.wrong == []


@given(handlers=SETS, programs=st.lists(st.lists(STEPS, max_size=4), min_size=2, max_size=4))
@examples(150)
def test_nothing_is_called_after_it_was_cancelled_by_any_of_several_tasks(
    backend: str, handlers: list[Handler], programs: list[list[Deed]]
) -> None:
    """Nor by an emit that was under way when it was subscribed; all others are called once by each emit."""

    async def main() -> Stage:
        stage = Stage(handlers)

        async def run(number: int, program: list[Deed]) -> None:
            for index, step in enumerate(program):
                await checkpoint()
                await stage.do(step, f"{number}.{index}")

        async with anyio.create_task_group() as tasks:
            for number, program in enumerate(programs):
                tasks.start_soon(run, number, program)
        return stage

    stage = anyio.run(main, backend=backend)
    assert stage.wrong == []
    assert stage.missing() == []


@given(handlers=SETS, emits=st.lists(EMITS, min_size=2, max_size=5))
@examples(150)
def test_a_once_handler_runs_exactly_once_however_many_emits_want_it(
    backend: str, handlers: list[Handler], emits: list[Emit]
) -> None:
    async def main() -> Stage:
        stage = Stage(handlers)
        async with anyio.create_task_group() as tasks:
            for number, emit in enumerate(emits):
                tasks.start_soon(stage.do, emit, f"{number}")
        return stage

    stage = anyio.run(main, backend=backend)
    for order, handler in enumerate(stage.handlers):
        name = name_of(order)
        ran = sum(called == name for _label, called in stage.calls)
        wanted = any(order < known and wants(handler, event) for event, known in stage.emitted.values())
        if handler.once:
            assert ran <= 1
        if handler.once and name not in stage.cancelled:
            assert ran == int(wanted)
