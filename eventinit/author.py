"""Who is acting: the handler that runs now, known to whatever it changes."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from eventinit.change import Change


@dataclass(slots=True, eq=False)
class Author:
    """A handler during one call of it.

    Attributes:
        handler: Its name.
        event: The name of the event it handles.
        owner: What it belongs to: the object whose method it is, or None.
        changes: What it has changed during the call, oldest first.
        competes: False for the start itself, whose changes are no handler's and in nobody's way.
        revoked: True once nobody waits for the call any more; what it still does must have no effect.
    """

    handler: str
    event: str
    owner: object | None = None
    changes: list[Change] = field(default_factory=list[Change])
    competes: bool = True
    revoked: bool = False

    def is_same_writer(self, other: "Author") -> bool:
        """Return whether both are calls of one handler, or of handlers that belong to one object."""
        if self.owner is None and other.owner is None:
            return self.handler == other.handler
        return self.owner is other.owner


current_author: ContextVar[Author | None] = ContextVar("eventinit_author", default=None)
