"""A handler's no."""

from dataclasses import dataclass

from eventinit.errors import VetoError
from eventinit.event import Event, VetoableEvent


@dataclass(frozen=True, slots=True)
class Veto:
    """What a handler returns to keep what an event announces from happening; ``False`` is a veto without a reason."""

    reason: str = "no reason given"


@dataclass(frozen=True, slots=True)
class VetoRecord:
    """A veto with the handler that cast it; as text ``handler: reason``.

    Attributes:
        reason: Why; ``no reason given`` when the handler returned ``False``.
        handler: The handler's name.
        priority: The handler's priority.
    """

    reason: str
    handler: str
    priority: int

    def __str__(self) -> str:
        return f"{self.handler}: {self.reason}"


def as_veto(value: object, *, handler: str, event: type[Event], subscribed_to: type[Event]) -> Veto | None:
    """Return the veto in what a handler returned, or None.

    Raises:
        VetoError: The value is neither None, a bool nor a ``Veto``, or a ``Veto`` where none is allowed.
    """
    may_veto = issubclass(subscribed_to, VetoableEvent)
    if value is None or value is True:
        return None
    if value is False:
        return Veto() if may_veto else None
    if isinstance(value, Veto) and may_veto:
        return value
    raise VetoError(handler, event.__name__, value, _problem(value, event, subscribed_to))


def _problem(value: object, event: type[Event], subscribed_to: type[Event]) -> str:
    if not isinstance(value, Veto):
        return "; return None, False or Veto('reason')" if issubclass(subscribed_to, VetoableEvent) else "; return None"
    if issubclass(event, VetoableEvent):
        return f" and is subscribed to {subscribed_to.__name__}; subscribe it to {event.__name__} itself to veto that"
    return ", which cannot be vetoed; return None"
