"""The base of all events, and of those that can be vetoed."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Event(BaseModel):
    """A frozen, typed value that tells what happens or asks whether it may; derive from it for events of your own.

    Attributes:
        phase: The phase of a node's start that the event belongs to, or None.
        audited: Whether the bus records durations and attributes changes for it, which plain events do not pay for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: ClassVar[str | None] = None
    audited: ClassVar[bool] = False

    def observed(self) -> Self:
        """Return the event as observers get it: itself, or a copy that they cannot change anything through."""
        return self


class VetoableEvent(Event):
    """An event that asks: a handler that returns ``False`` or a ``Veto`` keeps what it announces from happening."""
