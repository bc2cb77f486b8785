"""Bandwidth that transfers share."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Never, final

from anyio import Event, current_time, move_on_after

A_BYTE = 1.0
"""Times are floats: a transfer that lacks less is over."""


@final
@dataclass(order=True, slots=True)
class Transfer:
    """One transfer under way; it is over when each transfer of its pipe has got ``end`` bytes since the pipe began."""

    end: float
    size: int = field(compare=False)
    ended: Event = field(default_factory=Event, compare=False)


@final
class Pipe:
    """Gives every transfer the same rate: ``each``, or its part of ``total`` when there are many.

    As all rates are the same, one sum of the bytes that each transfer has got since the beginning tells how far every
    one of them is, and a change costs no more with many transfers than with few.
    """

    def __init__(self, each: float, total: float) -> None:
        self._each = each
        self._total = total
        self._under_way: list[Transfer] = []
        self._given = 0.0
        self._at = current_time()
        self._changed = Event()
        self.bytes_carried = 0

    def begin(self, size: int) -> Transfer:
        """Begin a transfer."""
        self._advance()
        transfer = Transfer(self._given + size, size)
        heappush(self._under_way, transfer)
        self._changed.set()
        return transfer

    def done(self, transfer: Transfer) -> int:
        """Return how many bytes of a transfer have been carried."""
        self._advance()
        return transfer.size - max(0, int(transfer.end - self._given))

    async def run(self) -> Never:
        """Carry, until cancelled."""
        while True:
            self._changed = Event()
            with move_on_after(self._time_to_next_end()):
                await self._changed.wait()
            self._advance()
            while self._under_way and self._under_way[0].end - self._given < A_BYTE:
                transfer = heappop(self._under_way)
                self.bytes_carried += transfer.size
                transfer.ended.set()

    def _time_to_next_end(self) -> float | None:
        return (self._under_way[0].end - self._given) / self._rate() if self._under_way else None

    def _rate(self) -> float:
        return min(self._each, self._total / len(self._under_way))

    def _advance(self) -> None:
        now = current_time()
        if self._under_way:
            self._given += (now - self._at) * self._rate()
        self._at = now
