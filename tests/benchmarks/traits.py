"""What a contender does, found out by trying: does it run every handler, in which order, and does it isolate them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from tests.benchmarks.contender import Contender, Handler, Lane, named

TRIED = 20
"""How many handlers the order is tried with."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What was found out about a contender in one lane.

    Attributes:
        isolates: Whether a handler that raises, wherever it stands, keeps none of the others from running.
        order: ``as added``, ``last added first`` or ``arbitrary``.
        priorities: Whether a handler can be put before those that were added earlier.
    """

    isolates: bool
    order: str
    priorities: bool


async def traits_of(kind: type[Contender], lane: Lane) -> Traits:
    """Try a contender out."""
    with quietly():
        isolates = [await _others_run_beside_failing(kind, lane, failing) for failing in range(3)]
        order = await _order(kind, lane, [0] * TRIED)
        priorities = kind.priorities and await _order(kind, lane, [0, 0, 10]) in ([2, 0, 1], [2, 1, 0])
    return Traits(all(isolates), _name_of(order), priorities)


async def fault_of(kind: type[Contender], lane: Lane, count: int) -> str | None:
    """Return what is wrong when not each of ``count`` handlers runs once for each of two events, or None."""
    ran: list[int] = []
    try:
        await _emit(kind(lane), [_noting(lane, ran, number) for number in range(count)], [0] * count, times=2)
    except Exception as error:  # noqa: BLE001
        return f"fails: {type(error).__name__}: {error}"
    if sorted(ran) == sorted([*range(count)] * 2):
        return None
    return f"ran {len(ran)} of {2 * count} handlers"


@contextlib.contextmanager
def quietly() -> Generator[None]:
    """Keep away what libraries print, log and warn of while handlers fail on purpose."""
    logging.disable()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


async def _others_run_beside_failing(kind: type[Contender], lane: Lane, failing: int) -> bool:
    ran: list[int] = []
    handlers = [_noting(lane, ran, number) for number in range(3)]
    handlers[failing] = named(_failing(lane), failing)
    with contextlib.suppress(Exception):
        await _emit(kind(lane), handlers, [0, 0, 0])
    return len(ran) == 2


async def _order(kind: type[Contender], lane: Lane, priorities: Sequence[int]) -> list[int]:
    ran: list[int] = []
    await _emit(kind(lane), [_noting(lane, ran, number) for number in range(len(priorities))], priorities)
    return ran


async def _emit(contender: Contender, handlers: list[Handler], priorities: Sequence[int], times: int = 1) -> None:
    await contender.open()
    for handler, priority in zip(handlers, priorities, strict=True):
        contender.add(handler, priority)
    contender.complete()
    try:
        await contender.emit_all(contender.events(times))
    finally:
        await contender.aclose()


def _name_of(order: list[int]) -> str:
    if order == sorted(order):
        return "as added"
    return "last added first" if order == sorted(order, reverse=True) else "arbitrary"


def _noting(lane: Lane, ran: list[int], number: int) -> Handler:
    def note(event: object) -> None:
        ran.append(number)

    async def note_async(event: object) -> None:
        ran.append(number)

    return named(note_async if lane == "async" else note, number)


def _failing(lane: Lane) -> Handler:
    def fail(event: object) -> None:
        raise ValueError("on purpose")

    async def fail_async(event: object) -> None:
        fail(event)

    return fail_async if lane == "async" else fail
