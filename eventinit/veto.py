"""A handler's no."""

from dataclasses import dataclass

from eventinit.errors import VetoError


@dataclass(frozen=True, slots=True)
class Veto:
    """What a handler returns to keep what an event announces from happening; ``False`` is a veto without a reason."""

    reason: str = "no reason given"


@dataclass(frozen=True, slots=True)
class VetoRecord:
    """A veto with the handler that cast it."""

    reason: str
    handler: str
    priority: int

    def __str__(self) -> str:
        return f"{self.handler}: {self.reason}"


def as_veto(value: object, *, handler: str, event: str, may_veto: bool) -> Veto | None:
    """Return the veto in what a handler returned, or None.

    Raises:
        VetoError: The value is neither None, a bool nor a ``Veto``, or a ``Veto`` where none is allowed.
    """
    if value is None or value is True:
        return None
    if isinstance(value, Veto):
        if not may_veto:
            raise VetoError(handler, event, value, vetoable=False)
        return value
    if value is False:
        return Veto() if may_veto else None
    raise VetoError(handler, event, value, vetoable=may_veto)
