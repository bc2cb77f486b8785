"""Receivers that other code connected to one of the bus's blinker signals."""

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

from blinker import Signal

Receiver = Callable[..., Any]


def weak_call(receiver: Receiver, signal: Signal, sender: object) -> Callable[[Any], Any]:
    """Return a function that calls a receiver the way blinker does, without keeping it alive.

    A signal that is muted calls none of its receivers.
    """
    reference = _reference(receiver)

    def call(event: Any) -> Any:
        found = reference()
        return None if found is None or signal.is_muted else found(sender, event=event)

    return call


def identity(receiver: Receiver) -> object:
    """Return what tells one receiver from another; a bound method is made anew each time it is looked up."""
    if isinstance(receiver, MethodType):
        return id(receiver.__self__), id(receiver.__func__)
    return id(receiver)


def _reference(receiver: Receiver) -> Callable[[], Receiver | None]:
    try:
        return weakref.WeakMethod(receiver) if isinstance(receiver, MethodType) else weakref.ref(receiver)
    except TypeError:  # no weak references to it exist, so whoever connected it keeps it alive
        return lambda: receiver
