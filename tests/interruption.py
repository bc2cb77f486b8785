"""Cancel work at any step of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Literal, TypeVarTuple, Unpack, final

import anyio
import trio
from anyio import CancelScope

Args = TypeVarTuple("Args")
Way = Literal["a scope, in a handler", "a scope", "the task"]
"""Cancel a scope around the work from inside a handler; or, at any step of the loop, such a scope or the task."""


@final
class Steps:
    """Counts the steps of an event loop, the turns of its tasks, and does something just before some of them.

    Attributes:
        taken: How many there were since the count began.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._deeds: dict[int, Callable[[], object]] = {}

    def run(self, main: Callable[[], Awaitable[None]], backend: str) -> None:
        """Run a program on an event loop whose steps are counted."""
        on_asyncio = {"loop_factory": partial(_CountedLoop, self._step)}
        on_trio = {"instruments": [_Instrument(self._step)]}
        anyio.run(main, backend=backend, backend_options=on_asyncio if backend == "asyncio" else on_trio)

    def count(self, deeds: dict[int, Callable[[], object]]) -> None:
        """Begin to count from 1, with something to do before each of these steps."""
        self.taken, self._deeds = 0, deeds

    def _step(self) -> None:
        self.taken += 1
        if self.taken in self._deeds:
            self._deeds[self.taken]()


class _CountedLoop(asyncio.SelectorEventLoop):
    """Counts its callbacks; each turn of a task is one."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        super().__init__()

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        def counted() -> None:
            self._step()
            callback(*args)

        return super().call_soon(counted, context=context)


class _Instrument(trio.abc.Instrument):
    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step()


@final
class Interruption:
    """Runs pieces of work one after another, each of which it cancels in one way.

    ``at_pause`` is called by the work's handlers.

    Attributes:
        struck: Whether the last piece of work was still under way at the time of its cancellation.
        cancelled: Whether the cancellation ended it.
        steps: How many steps it took.
    """

    def __init__(self, way: Way, steps: Steps) -> None:
        self.struck = self.cancelled = False
        self.steps = 0
        self._way = way
        self._counter = steps
        self._pauses_left = 0
        self._cancel: Callable[[], object] = CancelScope().cancel

    @property
    def cancels_tasks(self) -> bool:
        """Whether the work is a task by itself, and the cancellation that of the task."""
        return self._way == "the task"

    def at_pause(self) -> None:
        """Cancel the work when this is the time."""
        self._pauses_left -= 1
        if self._pauses_left == 0:
            self._strike()

    async def run(self, work: Callable[[], Awaitable[object]], *at: int) -> None:
        """Await ``work``, cancelled before each of these steps, or at its handlers' pause of the first number."""
        self.struck = False
        if self._way == "a scope, in a handler":
            self._pauses_left = at[0] if at else 0
        else:
            self._counter.count(dict.fromkeys(at, self._strike))
        try:
            await (self._in_a_task(work) if self.cancels_tasks else self._in_a_scope(work))
        finally:
            self.steps = self._counter.taken
            self._counter.count({})
            self._pauses_left = 0

    def _strike(self) -> None:
        self.struck = self._cancel() is not False or self.struck

    async def _in_a_scope(self, work: Callable[[], Awaitable[object]]) -> None:
        with CancelScope() as scope:
            self._cancel = scope.cancel
            await work()
        self.cancelled = scope.cancelled_caught

    async def _in_a_task(self, work: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run())
        self._cancel = task.cancel
        await asyncio.wait([task])
        self.cancelled = task.cancelled()
        if not self.cancelled:
            task.result()
