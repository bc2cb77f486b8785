"""Cancel an awaitable at a chosen one of its suspensions."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Literal, final

from anyio import CancelScope

Way = Literal["a scope, in a handler", "a scope", "the task"]
"""Cancel a scope around the emit from inside a handler; or, at any await of the emit, such a scope or the task."""


@final
class Stepped:
    """Awaits a coroutine step by step, and strikes when it suspends for the ``at``-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int, strike: Callable[[], object]) -> None:
        self._coroutine = coroutine
        self._left = at
        self._strike = strike

    @property
    def struck(self) -> bool:
        """Whether it came to so many suspensions."""
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, None]:
        resume: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                wish = resume()
            except StopIteration:
                return
            self._left -= 1
            if self._left == 0:
                self._strike()
            resume = self._answered((yield from _yielded(wish)))

    def _answered(self, answer: tuple[Any, BaseException | None]) -> Callable[[], Any]:
        value, error = answer
        return (lambda: self._coroutine.send(value)) if error is None else lambda: self._coroutine.throw(error)


def _yielded(wish: Any) -> Generator[Any, Any, tuple[Any, BaseException | None]]:
    try:
        return (yield wish), None
    except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
        return None, error


@final
class Interruption:
    """Runs emits, each of which it cancels in one way.

    ``at_pause`` is called by its handlers; ``struck`` says whether the last emit got as far as its cancellation.
    """

    def __init__(self, way: Way) -> None:
        self.struck = False
        self._way = way
        self._left = 0
        self._scope = CancelScope()

    def at_pause(self) -> None:
        """Cancel the emit when this is the time."""
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()

    async def run(self, work: Callable[[], Coroutine[Any, Any, object]], at: int) -> None:
        """Await ``work``, cancelled at its ``at``-th suspension or its handlers' ``at``-th pause."""
        self._scope = CancelScope()
        if self._way == "a scope, in a handler":
            self._left = at
            with self._scope:
                await work()
            self.struck = self._left <= 0
            self._left = 0
            return
        stepped = Stepped(work(), at, self._cancel)
        await (_in_a_task(stepped) if self._way == "the task" else self._in_the_scope(stepped))
        self.struck = stepped.struck

    def _cancel(self) -> None:
        if self._way == "a scope":
            self._scope.cancel()
            return
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def _in_the_scope(self, stepped: Stepped) -> None:
        with self._scope:
            await stepped


async def _in_a_task(stepped: Stepped) -> None:
    async def run() -> None:
        await stepped

    await asyncio.wait([asyncio.create_task(run())])
