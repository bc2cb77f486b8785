"""A start on which anything fails, wherever it calls what is not its own, leaves nothing, and the next one works."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from eventinit.errors import EventInitError, PlacementError
from tests.start.rehearsal import Rehearsal

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("temporary_folder")]

HANGS_AFTER_S = 30.0
UNDOS = ("running.stop", "cluster.remove_group", "cluster.disconnect")
"""What takes back the steps of a start, the last step first."""
AT_THE_END = ("running.stop #1", "cluster.remove_group #2", "cluster.disconnect #1")
"""The undos of a whole start; the first group is removed earlier, when another one replaces it."""
WARM_UP = "cluster.warm #1"
"""It does not begin if the group is placed sooner."""
HARMLESS = ("observer", WARM_UP, "running.", "handler of PreShutdown", "handler of PostShutdown", *AT_THE_END)
"""Where a failure is logged and ends nothing: in what only watches or saves time, and when the node is ended."""
FAILURE_TOLD = "handler of PhaseFailed #1"
Failing = tuple[str, type[BaseException]]


@pytest.fixture(
    params=[
        pytest.param(("asyncio", RuntimeError), id="asyncio-RuntimeError"),
        pytest.param(("asyncio", PlacementError), id="asyncio-PlacementError"),
        pytest.param(("asyncio", asyncio.CancelledError), id="asyncio-stray cancellation"),
        pytest.param(("asyncio", SystemExit), id="asyncio-sys.exit"),
        pytest.param(("trio", RuntimeError), id="trio-RuntimeError"),
    ]
)
def failing(request: pytest.FixtureRequest) -> Failing:
    """On which event loop, and with what, calls fail."""
    param: Failing = request.param
    return param


@pytest.fixture
def anyio_backend(failing: Failing) -> str:
    return failing[0]


@pytest.fixture
async def places() -> list[str]:
    """Every place at which a start that succeeds, and the end of its node, call what is not their own."""
    rehearsal = Rehearsal()
    await rehearsal.play()
    assert set(AT_THE_END) <= set(rehearsal.places.passed)
    return rehearsal.places.passed


async def error_of(rehearsal: Rehearsal, failures: dict[str, BaseException]) -> EventInitError | None:
    rehearsal.begin(failures)
    try:
        with anyio.fail_after(HANGS_AFTER_S):
            await rehearsal.play()
    except EventInitError as error:
        return error
    return None


def stands_for(error: BaseException, failure: BaseException) -> bool:
    return error is failure or error.__cause__ is failure


async def test_a_failure_anywhere_is_one_typed_error_and_leaves_nothing(places: list[str], failing: Failing) -> None:
    for place in places:
        rehearsal, failure = Rehearsal(), failing[1](place)
        error = await error_of(rehearsal, {place: failure})
        if place not in rehearsal.places.passed:  # a call that only this order of the tasks came to
            assert place == WARM_UP or not place.endswith("#1")
        elif place.startswith(HARMLESS):
            assert error is None, place
        else:
            assert error is not None, place
            assert stands_for(error, failure), place
        await rehearsal.assert_over()


async def test_a_second_failure_in_the_undo_is_attached_and_stops_no_other(
    places: list[str], failing: Failing, complaints: Callable[[], set[str]]
) -> None:
    for place in places:
        rehearsal, failure = Rehearsal(), failing[1](place)
        if await error_of(rehearsal, {place: failure}) is None:
            continue
        undone = undos_after(place, rehearsal)
        for second in [*undone, *{FAILURE_TOLD}.intersection(rehearsal.places.passed)]:
            rehearsal, second_failure = Rehearsal(), failing[1](second)
            error = await error_of(rehearsal, {place: failure, second: second_failure})
            await rehearsal.assert_nothing_is_left()
            if place not in rehearsal.places.passed:  # a call that only this order of the tasks came to
                assert not place.endswith("#1")
                continue
            assert error is not None, place
            assert stands_for(error, failure), place
            attached = [stands_for(other, second_failure) for other in error.also]
            assert any(attached) == (second != FAILURE_TOLD), (place, second)
            assert undos_after(place, rehearsal) == undone, (place, second)
    told = {text.split()[0] for text in complaints()}
    assert {"eventinit.undo_failed", "eventinit.handler_failed"} <= told


def undos_after(place: str, rehearsal: Rehearsal) -> list[str]:
    """Return what was taken back after a failure at a place, and say that it was in the reverse of the order made."""
    passed = rehearsal.places.passed
    undos = [each for each in passed[passed.index(place) + 1 :] if each.startswith(UNDOS)]
    order = [UNDOS.index(each.partition(" ")[0]) for each in undos]
    assert order == sorted(order), (place, undos)
    return undos
