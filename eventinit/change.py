"""What one change of the context is, and one that takes another's place."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Absent(Enum):
    """The old value of a key that was not there, or the new one of a key that was removed."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return self.value


ABSENT: Final = Absent.ABSENT
"""Stands in a ``Change`` for what was not there, or is there no longer; compare with ``is``."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the context; secrets in it are replaced when it is recorded.

    Attributes:
        field: The field of the context.
        key: The path of keys inside a dict field; empty when the field itself was set.
        old: What was there, or ``ABSENT``.
        new: What is there now, or ``ABSENT``.
        handler: Who changed it.
        event: The event it was handling.
        at: When, in seconds since the epoch.
    """

    field: str
    key: tuple[str, ...]
    old: Any
    new: Any
    handler: str
    event: str
    at: float

    @property
    def path(self) -> str:
        """The field and key as one dotted name, such as ``extra_init_kwargs.max_model_len``."""
        return ".".join((self.field, *self.key))

    def __str__(self) -> str:
        return f"{self.path}: {self.old!r} -> {self.new!r} by {self.handler} on {self.event}"


@dataclass(frozen=True, slots=True)
class Override:
    """Two handlers have written the same key of the context: the value of the second stands.

    Attributes:
        path: The field and key as one dotted name.
        first: The change that no longer counts, or no longer in this key.
        then: The change of another handler that took its place.
    """

    path: str
    first: Change
    then: Change
