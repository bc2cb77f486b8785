"""The handlers of each event class, kept in blinker signals."""

import itertools
from collections.abc import Callable
from typing import Any, final

from blinker import Signal

from eventinit.event import Event
from eventinit.receivers import identity, weak_call
from eventinit.subscription import HandlerOptions, HandlerSubscription, check_event_type, name_of


@final
class HandlerSignals:
    """One blinker signal per event class, and the order in which the handlers of an event run.

    That order is worked out once for an event class and forgotten when anything is connected or disconnected.
    """

    def __init__(self, sender: object) -> None:
        self._sender = sender
        self._signals: dict[type[Event], Signal] = {}
        self._order = itertools.count()
        self._raw_order: dict[tuple[int, object], int] = {}
        self._plans: dict[type[Event], tuple[HandlerSubscription, ...]] = {}

    def signal(self, event_type: type[Event]) -> Signal:
        """Return the signal of an event class; the first call makes it.

        Raises:
            SubscriptionError: It is no event class.
        """
        check_event_type(event_type)
        if event_type not in self._signals:
            signal = self._signals[event_type] = Signal(event_type.__doc__)
            signal.receiver_connected.connect(self._on_connected, weak=False)
            signal.receiver_disconnected.connect(self._on_disconnected, weak=False)
            self._plans.clear()
        return self._signals[event_type]

    def subscribe(
        self, event_type: type[Event], handler: Callable[[Any], Any], options: HandlerOptions
    ) -> HandlerSubscription:
        """Connect a handler and return its subscription."""
        signal = self.signal(event_type)
        entry = HandlerSubscription(event_type, handler, next(self._order), signal.disconnect, options)
        signal.connect(entry, weak=False)
        return entry

    def handlers_of(self, kind: type[Event]) -> tuple[HandlerSubscription, ...]:
        """Return the handlers of an event class and its bases in the order in which they run."""
        if kind not in self._plans:
            entries = [
                self._as_handler(base, receiver)
                for base in kind.__mro__
                if base in self._signals
                for receiver in self._signals[base].receivers_for(self._sender)
            ]
            self._plans[kind] = tuple(sorted(entries, key=lambda entry: (-entry.priority, entry.order)))
        return self._plans[kind]

    def _as_handler(self, kind: type[Event], receiver: Callable[..., Any]) -> HandlerSubscription:
        if isinstance(receiver, HandlerSubscription):
            return receiver
        order = self._raw_order.get((id(self._signals[kind]), identity(receiver)), 0)
        call, name = weak_call(receiver, self._sender), name_of(receiver)
        return HandlerSubscription(kind, call, order, lambda _: None, {"name": name})

    def _on_connected(self, signal: Signal, receiver: Any, **_rest: Any) -> None:
        self._raw_order[id(signal), identity(receiver)] = next(self._order)
        self._plans.clear()

    def _on_disconnected(self, signal: Signal, receiver: Any, **_rest: Any) -> None:
        self._raw_order.pop((id(signal), identity(receiver)), None)
        self._plans.clear()
