"""The handlers of each event class, kept in blinker signals."""

import itertools
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, final

from blinker import Signal

from eventinit.event import Event
from eventinit.handler import HandlerOptions, HandlerSubscription
from eventinit.receivers import WeakReceiver, identity
from eventinit.subscription import check_event_type, name_of


@final
class HandlerSignals:
    """One blinker signal per event class, and the order in which the handlers of an event run.

    Blinker is not made for threads, so everything happens under a lock.

    Args:
        sender: What receivers are called with.
        lock: Held while anything is connected, disconnected or looked up.
        on_change: Called when something was.
        settle: Brings the counts of the handlers up to date.
    """

    def __init__(
        self, sender: object, lock: RLock, *, on_change: Callable[[], None], settle: Callable[[], None]
    ) -> None:
        self._sender = sender
        self._lock = lock
        self._on_change = on_change
        self._settle = settle
        self._signals: dict[type[Event], Signal] = {}
        self._order = itertools.count()
        self._raw: dict[tuple[type[Event], object], HandlerSubscription] = {}

    def signal(self, event_type: type[Event]) -> Signal:
        """Return the signal of an event class; the first call makes it.

        Raises:
            SubscriptionError: It is no event class.
        """
        check_event_type(event_type)
        with self._lock:
            if event_type not in self._signals:
                self._signals[event_type] = self._new_signal(event_type)
                self._on_change()
            return self._signals[event_type]

    def subscribe(
        self, event_type: type[Event], handler: Callable[[Any], Any], options: HandlerOptions
    ) -> HandlerSubscription:
        """Connect a handler and return its subscription."""
        with self._lock:
            entry = HandlerSubscription(
                event_type, handler, next(self._order), self._disconnect, options, settle=self._settle
            )
            self.signal(event_type).connect(entry, weak=False)
            return entry

    def handlers_of(self, kind: type[Event]) -> list[HandlerSubscription]:
        """Return the handlers of an event class and its bases in the order in which they run."""
        with self._lock:
            entries = [entry for base in kind.__mro__ if base in self._signals for entry in self._connected(base)]
        return sorted(entries, key=lambda entry: (-entry.priority, entry.order))

    def all(self) -> list[HandlerSubscription]:
        """Return every handler, class by class, in the order in which they run."""
        with self._lock:
            entries = [list(self._connected(kind)) for kind in self._signals]
        return [entry for each in entries for entry in sorted(each, key=lambda entry: (-entry.priority, entry.order))]

    def _new_signal(self, event_type: type[Event]) -> Signal:
        signal = Signal(event_type.__doc__)

        def on_connected(_signal: Signal, receiver: Any, **_rest: Any) -> None:
            self._note_connected(event_type, receiver)

        def on_disconnected(_signal: Signal, receiver: Any, **_rest: Any) -> None:
            self._note_disconnected(event_type, receiver)

        signal.receiver_connected.connect(on_connected, weak=False)
        signal.receiver_disconnected.connect(on_disconnected, weak=False)
        return signal

    def _connected(self, kind: type[Event]) -> Iterator[HandlerSubscription]:
        for receiver in self._signals[kind].receivers_for(self._sender):
            yield receiver if isinstance(receiver, HandlerSubscription) else self._raw_entry(kind, receiver)

    def _raw_entry(self, kind: type[Event], receiver: Callable[..., Any]) -> HandlerSubscription:
        key = (kind, identity(receiver))
        if key not in self._raw:
            found = WeakReceiver(receiver, self._signals[kind], self._sender, lambda: self._raw.pop(key, None))
            options: HandlerOptions = {"name": name_of(receiver), "where": found.is_heard}
            order = next(self._order)
            self._raw[key] = HandlerSubscription(
                kind, found.call, order, _nothing, options, settle=self._settle, kind="receiver"
            )
        return self._raw[key]

    def _note_connected(self, kind: type[Event], receiver: Any) -> None:
        with self._lock:
            if not isinstance(receiver, HandlerSubscription):
                self._raw_entry(kind, receiver)
            self._on_change()

    def _note_disconnected(self, kind: type[Event], receiver: Any) -> None:
        with self._lock:
            key = (kind, identity(receiver))
            # One that was connected for several senders may still be there for another.
            if key in self._raw and not self._is_connected(kind, receiver):
                self._raw.pop(key).live = False
            self._on_change()

    def _is_connected(self, kind: type[Event], receiver: Any) -> bool:
        found = self._signals[kind].receivers_for(self._sender)
        return any(identity(other) == identity(receiver) for other in found)

    def _disconnect(self, entry: HandlerSubscription) -> None:
        with self._lock:
            self._signals[entry.event_type].disconnect(entry)


def _nothing(_entry: HandlerSubscription) -> None:
    pass
