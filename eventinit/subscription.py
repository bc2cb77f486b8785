"""What one subscription to an event is."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from eventinit.errors import SubscriptionError
from eventinit.event import Event


@dataclass(frozen=True, slots=True)
class SubscriberStatus:
    """How one subscriber is doing, as ``bus.subscribers()`` tells it.

    Attributes:
        name: What errors and warnings call it.
        event_type: The class it is subscribed to.
        kind: ``handler``, ``receiver`` (connected with blinker itself), ``observer``, ``stream`` or ``recorder``.
        state: ``live``, or ``set aside`` after too many failures in a row.
        priority: A handler's priority; 0 for all others, which have none.
        calls: How many events it has been given; a handler's counts when the emit ends, or at once if it has options.
        failures: How many of them it failed on.
        last_duration_s: How long it took for the last event that was measured, in seconds; None when none was. All
            events of observers are measured, and of those of handlers the ones that are audited.
        queued: How many events wait for it.
        dropped: How many events it lost because its queue was full.
        lag_s: For how many seconds the oldest event that it has not dealt with has been waiting; for a handler, how
            long its call for an audited event has been under way.
    """

    name: str
    event_type: type[Event]
    kind: Literal["handler", "receiver", "observer", "stream", "recorder"]
    state: Literal["live", "set aside"] = "live"
    priority: int = 0
    calls: int = 0
    failures: int = 0
    last_duration_s: float | None = None
    queued: int = 0
    dropped: int = 0
    lag_s: float = 0.0


class Subscription(ABC):
    """A subscriber's place on a bus; cancel it, or use it as a context manager, to give the place up.

    Attributes:
        event_type: The class it is subscribed to; what derives from it is included.
        name: What errors and warnings call the subscriber.
        live: Whether it still gets events.
    """

    __slots__ = ("_end", "event_type", "live", "name")

    def __init__(self, event_type: type[Event], name: str, end: Callable[[Any], None]) -> None:
        self.event_type = event_type
        self.name = name
        self.live = True
        self._end: Callable[[Any], None] | None = end

    def cancel(self) -> None:
        """End the subscription at once, also in the middle of an emit and from any thread; twice is harmless."""
        self.live = False
        end, self._end = self._end, None
        if end is not None:
            end(self)

    @abstractmethod
    def status(self) -> SubscriberStatus:
        """Return how the subscriber is doing, as of now."""

    @property
    def busy(self) -> bool:
        """Whether something that was queued for it has not been delivered; a handler has no queue."""
        return False

    async def drained(self) -> None:  # noqa: B027 - a handler has no queue
        """Return when everything queued for it has been delivered; at once when no open bus serves it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} to {self.event_type.__name__}>"


def is_async(call: Callable[..., Any]) -> bool:
    """Return whether calling gives an awaitable, without calling."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004


def name_of(call: Callable[..., Any]) -> str:
    """Return what a callable is known by, such as ``Audit.on_event``."""
    qualified = str(getattr(call, "__qualname__", None) or type(call).__qualname__)
    return qualified.rpartition("<locals>.")[2]


def check_callable(call: object, argument: str = "the event") -> None:
    """Refuse what cannot be called with an event, or with the one ``argument`` that is named.

    Raises:
        SubscriptionError: It cannot.
    """
    if not callable(call):
        raise SubscriptionError(f"{call!r} cannot be called; subscribe a function or a method")
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise SubscriptionError(f"{name_of(call)} is a generator, which would not run; leave the yield out")
    try:
        inspect.signature(call).bind(None)
    except TypeError as error:
        raise SubscriptionError(f"{name_of(call)} cannot be called with {argument}: {error}; let it take one") from None
    except ValueError:  # built-in functions have no signature
        return


def check_filter(where: Callable[[Any], Any] | None) -> None:
    """Refuse a filter that cannot tell at once.

    Raises:
        SubscriptionError: It is async, or cannot be called.
    """
    if where is not None and (not callable(where) or is_async(where)):
        raise SubscriptionError(f"where is {where!r:.60}; it takes a plain function of the event, or None")


def check_event_type(event_type: object) -> None:
    """Refuse what is no class of events.

    Raises:
        SubscriptionError: It is something else.
    """
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        remedy = "name a class that derives from eventinit.Event, as in @bus.on(SomeEvent)"
        raise SubscriptionError(f"{event_type!r} is no event; {remedy}")
