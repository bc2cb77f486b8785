"""The event loop that a bus belongs to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from sys import get_asyncgen_hooks
from typing import Any, final

from anyio.lowlevel import current_token

from eventinit.errors import BusError


@final
class HomeLoop:
    """The event loop on which something was first used; it stays the only one until it is over or was left.

    Asking which loop runs takes anyio 2 µs and asyncio 0.2 µs, which is more than a whole emit. But both event loops
    set the hooks for asynchronous generators anew for each run, and looking at these takes 0.05 µs: ``mark`` is the
    hook of the run that was last found to be the right one.

    Args:
        on_move: Called when another loop takes over from the last one.
    """

    def __init__(self, on_move: Callable[[], None]) -> None:
        self.mark: object = None
        self._native: Any = None
        self._last: Any = None
        self._on_move = on_move

    def enter(self) -> None:
        """Make the loop that runs now the home, unless another one is.

        Raises:
            BusError: It is another loop, which is not over.
        """
        mark = get_asyncgen_hooks().firstiter
        if mark is not None and mark is self.mark:
            return
        native = current_token().native_token
        if native is not self._native:
            if self._native is not None and not _is_over(self._native):
                raise BusError(
                    "the bus belongs to another event loop, on which it was first used; use a bus for each loop,"
                    " or emit from a thread with anyio.from_thread.run(bus.emit, event, token=...)"
                )
            if self._last is not None and native is not self._last:
                self._on_move()
            self._native = self._last = native
        self.mark = mark

    def leave(self) -> None:
        """Let any loop be the next home."""
        self.mark = self._native = None

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call a function on the loop: at once when it runs here, soon from another thread, never when it is over."""
        if self.mark is not None and get_asyncgen_hooks().firstiter is self.mark:
            function()
        elif self._native is not None:
            with suppress(RuntimeError):  # the loop is over
                _call_from_outside(self._native, function)


def _is_over(native: Any) -> bool:
    if isinstance(native, asyncio.AbstractEventLoop):
        return native.is_closed()
    import trio

    try:
        native.run_sync_soon(_nothing)
    except trio.RunFinishedError:
        return True
    return False


def _call_from_outside(native: Any, function: Callable[[], object]) -> None:
    if isinstance(native, asyncio.AbstractEventLoop):
        native.call_soon_threadsafe(function)
    else:
        native.run_sync_soon(function)


def _nothing() -> None:
    pass
