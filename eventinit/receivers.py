"""Receivers that other code connected to one of the bus's blinker signals."""

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, final

from blinker import Signal

Receiver = Callable[..., Any]


@final
class WeakReceiver:
    """Calls a receiver the way blinker does, without keeping it alive.

    Args:
        receiver: What was connected.
        signal: What it is connected to; while that is muted it hears nothing.
        sender: What it is called with.
        on_death: Called when it is gone.
    """

    def __init__(self, receiver: Receiver, signal: Signal, sender: object, on_death: Callable[[], object]) -> None:
        self._reference = _reference(receiver, on_death)
        self._signal = signal
        self._sender = sender

    def is_heard(self, _event: object) -> bool:
        """Return whether the receiver is alive and its signal not muted."""
        return not self._signal.is_muted and self._reference() is not None

    def call(self, event: object) -> Any:
        """Call the receiver, unless it is gone."""
        found = self._reference()
        return None if found is None else found(self._sender, event=event)


def identity(receiver: Receiver) -> object:
    """Return what tells one receiver from another; a bound method is made anew each time it is looked up."""
    if isinstance(receiver, MethodType):
        return id(receiver.__self__), id(receiver.__func__)
    return id(receiver)


def _reference(receiver: Receiver, on_death: Callable[[], object]) -> Callable[[], Receiver | None]:
    def note_death(_reference: object) -> None:
        on_death()

    try:
        if isinstance(receiver, MethodType):
            return weakref.WeakMethod(receiver, note_death)
        return weakref.ref(receiver, note_death)
    except TypeError:  # no weak references to it exist, so whoever connected it keeps it alive
        return lambda: receiver
