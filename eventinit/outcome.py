"""What came of an event."""

from dataclasses import dataclass, field
from typing import NoReturn

from eventinit.change import Change
from eventinit.errors import BusError, HandlerError
from eventinit.veto import VetoRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event.

    Attributes:
        vetoes: Every veto, in the order of the handlers.
        changes: What the handlers changed in the event's context, in the order in which they ran.
        errors: The failures of handlers subscribed with ``on_error="log"``.
        durations: How long each handler took in seconds, for events that are audited.
        failure: What ``emit`` raises in place of returning the outcome; the failures of further handlers are attached.
    """

    vetoes: tuple[VetoRecord, ...] = ()
    changes: tuple[Change, ...] = ()
    errors: tuple[HandlerError, ...] = ()
    durations: tuple[tuple[str, float], ...] = ()
    failure: HandlerError | None = None

    @property
    def vetoed(self) -> bool:
        """Whether any handler vetoed."""
        return bool(self.vetoes)

    def __bool__(self) -> NoReturn:
        raise BusError(
            "an outcome is neither true nor false; ask for outcome.vetoed, outcome.errors or outcome.changes"
        )


NOTHING_HAPPENED = Outcome()


@dataclass(slots=True)
class Tally:
    """What the handlers of one event have done so far."""

    vetoes: list[VetoRecord] = field(default_factory=list[VetoRecord])
    changes: list[Change] = field(default_factory=list[Change])
    fatal: list[HandlerError] = field(default_factory=list[HandlerError])
    logged: list[HandlerError] = field(default_factory=list[HandlerError])
    durations: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def outcome(self) -> Outcome:
        """Return the whole, once the handlers have run."""
        failure = self.fatal[0].attach(self.fatal[1:]) if self.fatal else None
        return Outcome(tuple(self.vetoes), tuple(self.changes), tuple(self.logged), tuple(self.durations), failure)
