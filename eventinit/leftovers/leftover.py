"""One thing that a start has made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from eventinit.owner import Owner


@final
@dataclass(frozen=True, slots=True)
class Leftover:
    """A thing that is there, and whether it may go.

    Attributes:
        kind: What it is, for people.
        name: Which one it is.
        owner: Whose it is; None where nobody has signed it.
        in_use: Whether its owner lives; None when that cannot be seen from here.
        note: What else there is to say.
        remove: Removes it and returns why not, if that failed.
        size: In bytes, if it takes any.
        age_s: For how many seconds it has been there, or was not written to.
    """

    kind: str
    name: str
    owner: Owner | None
    in_use: bool | None
    note: str
    remove: Callable[[], str | None]
    size: int | None = None
    age_s: float | None = None

    @property
    def is_left(self) -> bool:
        """Whether nobody lives who would remove it."""
        return self.in_use is False
