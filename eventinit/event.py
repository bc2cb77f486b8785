"""The base of all events, the base of those that can be vetoed, and the one event that the bus itself emits."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A frozen, typed value that tells what happens or asks whether it may; derive from it for events of your own.

    Attributes:
        phase: The phase of a node's start that the event belongs to, or None.
        hook: The method of a callback object that takes the event, or None.
        audited: Whether the bus records durations and attributes changes for it, which plain events do not pay for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: ClassVar[str | None] = None
    hook: ClassVar[str | None] = None
    audited: ClassVar[bool] = False

    def observed(self) -> Self:
        """Return the event as observers get it: itself, or a copy that they cannot change anything through."""
        return self

    def hook_argument(self) -> Any:
        """Return what the event's hook is called with: the event itself unless a class says otherwise."""
        return self


class VetoableEvent(Event):
    """An event that asks: a handler that returns ``False`` or a ``Veto`` keeps what it announces from happening."""


class ObserverSetAside(Event):
    """An observer failed on three events in a row and gets no more; its failures are in the log.

    Attributes:
        observer: Its name.
        event_type: The name of the class it is subscribed to.
        failures: How many events in a row it failed on.
        error: The name of the last error's class.
    """

    observer: str
    event_type: str
    failures: int
    error: str


def subclasses(kind: type[Event]) -> Iterator[type[Event]]:
    """Yield every imported class that derives from an event class, in the order of definition."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)
