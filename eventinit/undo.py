"""What takes back the steps of a start, newest first, whatever happens meanwhile."""

import logging
from collections.abc import Awaitable, Callable
from typing import final

from anyio import CancelScope, move_on_after

from eventinit.joining import typed_errors
from eventinit.logs import log_event

Undo = Callable[[], Awaitable[None]]


@final
class UndoList:
    """The undos of a start, each registered the moment its step has created something."""

    def __init__(self) -> None:
        self._undos: list[tuple[str, Undo, float]] = []

    def push(self, name: str, undo: Undo, *, deadline_s: float) -> None:
        """Register what takes back a step; it may take ``deadline_s`` seconds."""
        self._undos.append((name, undo, deadline_s))

    def drop(self, name: str) -> None:
        """Forget the undos of this name, because what they would take back is gone."""
        self._undos = [entry for entry in self._undos if entry[0] != name]

    def has(self, name: str) -> bool:
        """Return whether there is an undo of this name."""
        return any(entry[0] == name for entry in self._undos)

    async def unwind(self) -> list[Exception]:
        """Run every undo once, newest first, and return the failures, which are logged and stop nothing.

        A cancellation does not interrupt it: each undo runs under a shield until its deadline.
        """
        failures: list[Exception] = []
        while self._undos:
            name, undo, deadline_s = self._undos.pop()
            failure = await _run(name, undo, deadline_s)
            if failure is not None:
                log_event(logging.ERROR, "undo_failed", failure, undo=name)
                failures.append(failure)
        return failures


async def _run(name: str, undo: Undo, deadline_s: float) -> Exception | None:
    # The shield is apart from the deadline: a deadline ends the undo, nothing else does.
    with CancelScope(shield=True), move_on_after(deadline_s) as scope:
        try:
            with typed_errors():
                await undo()
        except Exception as error:  # noqa: BLE001
            return error
    if scope.cancelled_caught:
        return TimeoutError(f"{name} did not finish within {deadline_s:g} s")
    return None
