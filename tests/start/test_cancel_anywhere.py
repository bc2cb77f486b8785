"""A start that is cancelled at any step of the event loop leaves nothing, and the next one works."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from eventinit.errors import HandlerError, PlacementError
from eventinit.events import PhaseFailed
from tests.interruption import Interruption, Steps, Way
from tests.start.rehearsal import Rehearsal

pytestmark = pytest.mark.usefixtures("temporary_folder")

AGAIN_AFTER = (1, 2, 3, 5, 8, 13, 21)
"""How many steps after the first cancellation of a task comes a second one: each of these in turn."""


@pytest.fixture(params=[("asyncio", "a scope"), ("asyncio", "the task"), ("trio", "a scope")], ids="-".join)
def loop(request: pytest.FixtureRequest) -> tuple[str, Way]:
    """On which event loop, and how, starts are cancelled."""
    param: tuple[str, Way] = request.param
    return param


def at_every_step(
    loop: tuple[str, Way],
    trial: Callable[[Rehearsal, Interruption, tuple[int, ...]], Awaitable[None]],
    *,
    twice: bool = False,
) -> None:
    """Run a trial as a whole, then cancelled before its first step, its second, and so on to its last.

    After each, nothing is left; after the last, another start on the same bus works.
    """
    backend, way = loop
    steps = Steps()

    async def main() -> None:
        rehearsal, interruption = Rehearsal(), Interruption(way, steps)
        await trial(rehearsal, interruption, ())
        count, at = interruption.steps, 0
        # Threads make it a few steps more or less: the last trial is one that is over before it is cancelled.
        while at < count or interruption.struck:
            at += 1
            rehearsal.begin()
            again = (at + AGAIN_AFTER[at % len(AGAIN_AFTER)],) if twice else ()
            try:
                await trial(rehearsal, interruption, (at, *again))
                await rehearsal.assert_nothing_is_left()
            except BaseException as error:
                error.add_note(f"when cancelled at step {at} of {count}")
                raise
        assert not interruption.cancelled
        await rehearsal.assert_over()
        assert rehearsal.outside() == []

    steps.run(main, backend)


async def play(rehearsal: Rehearsal, interruption: Interruption, at: tuple[int, ...]) -> None:
    await interruption.run(rehearsal.play, *at)
    if interruption.cancels_tasks:
        assert interruption.cancelled == interruption.struck
    assert all(event.cancelled for event in rehearsal.fired if isinstance(event, PhaseFailed))
    assert not rehearsal.bus.is_open


def test_a_block_cancelled_at_any_step_leaves_nothing(
    loop: tuple[str, Way], complaints: Callable[[], set[str]]
) -> None:
    at_every_step(loop, play)
    assert complaints() == set()


def test_a_block_whose_task_is_cancelled_twice_leaves_nothing(complaints: Callable[[], set[str]]) -> None:
    at_every_step(("asyncio", "the task"), play, twice=True)
    assert complaints() == set()


def test_start_and_aclose_in_two_tasks_cancelled_at_any_step_leave_nothing(
    loop: tuple[str, Way], complaints: Callable[[], set[str]]
) -> None:
    """A bus that the user has opened stays open."""

    async def trial(rehearsal: Rehearsal, interruption: Interruption, at: tuple[int, ...]) -> None:
        initializer = rehearsal.initializer()

        async def in_two_tasks() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(initializer.start)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(initializer.aclose)

        async with rehearsal.bus:
            await interruption.run(in_two_tasks, *at)
            await initializer.aclose()  # the cancellation may have come between the two
            assert rehearsal.bus.is_open

    at_every_step(loop, trial)
    assert complaints() == set()


def test_a_start_that_fails_with_all_its_undos_and_is_cancelled_at_any_step_leaves_nothing(
    loop: tuple[str, Way],
) -> None:
    places = (
        "handler of PostInitialization #1",
        "running.stop #1",
        "cluster.remove_group #2",
        "cluster.disconnect #1",
    )

    async def trial(rehearsal: Rehearsal, interruption: Interruption, at: tuple[int, ...]) -> None:
        rehearsal.begin({place: PlacementError(place) for place in places})

        async def fail() -> None:
            with suppress(HandlerError):
                await rehearsal.play()

        await interruption.run(fail, *at)

    at_every_step(loop, trial, twice=loop[1] == "the task")
