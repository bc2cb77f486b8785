"""How the branches of a start are joined: awaited values, and child tasks with one error."""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast, final

from anyio import Event, create_task_group, get_cancelled_exc_class

from eventinit.cancellation import is_failure
from eventinit.errors import EventInitError, UnexpectedError

T = TypeVar("T")


@final
class Awaited(Generic[T]):
    """A value that one branch provides and others wait for; the first counts."""

    def __init__(self) -> None:
        self._there = Event()
        self._values: list[T] = []

    def set(self, value: T) -> None:
        """Provide the value."""
        self._values.append(value)
        self._there.set()

    async def get(self) -> T:
        """Return the value as soon as it is there."""
        await self._there.wait()
        return self._values[0]


async def together(*branches: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run functions at the same time; the first that fails ends the others, and its error is raised.

    Errors of the others are attached to it.

    Raises:
        UnexpectedError: It is not eventinit's own.
    """
    with one_error():
        async with create_task_group() as group:
            for branch in branches:
                group.start_soon(_run, branch)


async def _run(branch: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with typed_errors():
        await branch()


async def in_child_task(function: Callable[[], Awaitable[T]]) -> T:
    """Return what a function returns, run in a task of its own.

    A plain ``task.cancel()`` on asyncio strikes through every shield of the task that it hits. Here it hits only a task
    that waits, and reaches the function as a cancellation that shields hold off. A cancellation wins over an error.

    Raises:
        UnexpectedError: The function raised an error that is not eventinit's own.
    """
    results: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        try:
            with typed_errors():
                results.append(await function())
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    async with create_task_group() as group:
        group.start_soon(run)
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def typed_errors() -> Generator[None]:
    """Raise an error that is not eventinit's own as the cause of one that is.

    So is a cancellation that nobody asked for, since a task group would take a branch that ends with it for complete.

    Raises:
        UnexpectedError: There was such an error.
    """
    try:
        yield
    except EventInitError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise UnexpectedError(error) from error


@contextmanager
def one_error() -> Generator[None]:
    """Raise the first error of a group in the group's place, with the others attached.

    On trio a group that is cancelled holds the cancellation of each child as well, which says nothing.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        first, *others = [leaf for leaf in leaves if not isinstance(leaf, get_cancelled_exc_class())] or leaves
        if isinstance(first, EventInitError):
            first.attach(others)
        raise first from first.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for child in cast("BaseExceptionGroup[BaseException]", error).exceptions:
        yield from _leaves(child)
