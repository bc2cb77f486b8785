"""Who is acting: the handler that runs now, known to whatever it changes."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Author:
    """A handler during one call of it.

    Attributes:
        handler: Its name.
        event: The name of the event it handles.
        revoked: True once nobody waits for the call any more; what it still does must have no effect.
    """

    handler: str
    event: str
    revoked: bool = False


current_author: ContextVar[Author | None] = ContextVar("eventinit_author", default=None)
