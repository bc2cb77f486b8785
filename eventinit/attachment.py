"""An object whose methods are subscribed together."""

from collections.abc import Callable, Iterable
from typing import Protocol, Self, final

from anyio import create_task_group, move_on_after

from eventinit.subscription import Subscription

DETACH_DRAIN_S = 5.0


@final
class Attachment:
    """The subscriptions of one attached object; cancel it, or use it as a context manager, to detach the object.

    Attributes:
        subscriptions: One for each mark of a method and for each hook.
    """

    def __init__(self, subscriptions: Iterable[Subscription], end: Callable[[], None]) -> None:
        self.subscriptions = tuple(subscriptions)
        self._end = end

    def cancel(self) -> None:
        """End every subscription of the object; twice is harmless."""
        for subscription in self.subscriptions:
            subscription.cancel()
        self._end()

    def names(self) -> list[str]:
        """Return the name of each subscription with its event, such as ``Audit.on_event on Event``."""
        return [f"{each.name} on {each.event_type.__name__}" for each in self.subscriptions]

    async def detach(self) -> None:
        """Do as ``cancel``, once observers have taken what is queued for them; they have five seconds."""
        try:
            with move_on_after(DETACH_DRAIN_S):
                await drain(self.subscriptions)
        finally:
            self.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()


class Drainable(Protocol):
    """Something that has work queued, or a place on the bus for which something is."""

    @property
    def busy(self) -> bool:
        """Whether something that was queued has not been dealt with."""
        ...

    async def drained(self) -> None:
        """Return when all of it has been."""
        ...


async def drain(queues: Iterable[Drainable]) -> None:
    """Return when everything that is queued anywhere has been dealt with, and what comes of that."""
    queues = list(queues)
    while busy := [queue for queue in queues if queue.busy]:
        async with create_task_group() as group:
            for queue in busy:
                group.start_soon(queue.drained)
