"""Wake many tasks without holding up whoever has news for them."""

from typing import final

from anyio import Event as Signal


@final
class Bells:
    """Sets signals a moment later, in a task of its own.

    Waking a task takes an event loop 1 µs or more. An emitter with a thousand observers wakes one task, which wakes the
    others once the emitter has gone on.
    """

    def __init__(self) -> None:
        self._waiting: list[Signal] = []
        self._idle: Signal | None = None

    def ring(self, signal: Signal) -> None:
        """Have a signal set soon."""
        self._waiting.append(signal)
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.set()

    async def run(self) -> None:
        """Set the signals until cancelled."""
        while True:
            signals, self._waiting = self._waiting, []
            for signal in signals:
                signal.set()
            idle = self._idle = Signal()
            await idle.wait()
