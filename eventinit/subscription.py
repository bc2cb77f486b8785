"""What one subscription to an event is."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, Self, TypedDict, TypeVar, overload

from eventinit.errors import SubscriptionError
from eventinit.event import Event
from eventinit.suggestion import did_you_mean
from eventinit.veto import Veto

E = TypeVar("E", bound=Event)

VetoResult = Veto | bool | None


class HandlerOptions(TypedDict, total=False):
    """How a handler is subscribed.

    Attributes:
        priority: Higher ones run first; 0 by default. Handlers of one priority run in the order of subscription.
        once: Cancel the subscription when its first event comes.
        timeout: How many seconds the handler may take; an async one, or a plain one with ``thread``.
        thread: Run a plain function in a worker thread, with the emitter's contextvars.
        on_error: ``raise`` fails the emit (the default); ``log`` logs the failure and goes on.
        where: Called with the event; the handler is skipped when it returns False.
        name: What errors and warnings call the handler; by default its qualified name.
    """

    priority: int
    once: bool
    timeout: float
    thread: bool
    on_error: Literal["raise", "log"]
    where: Callable[[Any], bool] | None
    name: str


class HandlerDecorator(Protocol[E]):
    """Subscribes the function below it and returns it unchanged."""

    @overload
    def __call__(self, handler: Callable[[E], Awaitable[None]], /) -> Callable[[E], Awaitable[None]]: ...
    @overload
    def __call__(self, handler: Callable[[E], None], /) -> Callable[[E], None]: ...


class VetoingHandlerDecorator(Protocol[E]):
    """Subscribes the function below it, which may veto, and returns it unchanged."""

    @overload
    def __call__(self, handler: Callable[[E], Awaitable[VetoResult]], /) -> Callable[[E], Awaitable[VetoResult]]: ...
    @overload
    def __call__(self, handler: Callable[[E], VetoResult], /) -> Callable[[E], VetoResult]: ...


class Subscription:
    """A handler's or observer's place on a bus; cancel it, or use it as a context manager, to give the place up."""

    __slots__ = ("_end", "event_type", "live", "name")

    def __init__(self, event_type: type[Event], name: str, end: Callable[[Any], None]) -> None:
        self.event_type = event_type
        self.name = name
        self.live = True
        self._end = end

    def cancel(self) -> None:
        """End the subscription at once, also in the middle of an emit; twice is harmless."""
        if self.live:
            self.live = False
            self._end(self)

    async def drained(self) -> None:
        """Return when everything queued for it has been delivered; a handler has no queue."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} to {self.event_type.__name__}>"


class HandlerSubscription(Subscription):
    """A handler's place on a bus: what the dispatch of an event needs to know of it, worked out once."""

    __slots__ = (
        "call",
        "is_async",
        "on_error",
        "once",
        "order",
        "priority",
        "thread",
        "timeout",
        "warned",
        "where",
    )

    def __init__(
        self,
        event_type: type[Event],
        call: Callable[[Any], Any],
        order: int,
        end: Callable[[Any], None],
        options: HandlerOptions,
    ) -> None:
        check_callable(call)
        _check_options(options)
        super().__init__(event_type, options.get("name") or name_of(call), end)
        self.call = call
        self.order = order
        self.priority = options.get("priority", 0)
        self.once = options.get("once", False)
        self.timeout = options.get("timeout")
        self.thread = options.get("thread", False)
        self.on_error = options.get("on_error", "raise")
        self.where = options.get("where")
        self.is_async = is_async(call)
        self.warned = False
        if self.thread and self.is_async:
            raise SubscriptionError(f"{self.name} is async and cannot run in a thread; leave thread=True out")
        if self.timeout is not None and not (self.thread or self.is_async):
            raise SubscriptionError(f"{self.name} is a plain function and cannot be timed out; add thread=True")

    def __call__(self, _sender: object, *, event: Event) -> Any:
        """Take part in a raw ``signal.send`` like any blinker receiver."""
        return self.call(event)


def is_async(call: Callable[..., Any]) -> bool:
    """Return whether calling gives an awaitable, without calling."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004


def name_of(call: Callable[..., Any]) -> str:
    """Return what a callable is known by, such as ``Audit.on_event``."""
    qualified = str(getattr(call, "__qualname__", None) or type(call).__qualname__)
    return qualified.rpartition("<locals>.")[2]


def check_callable(call: object) -> None:
    """Refuse what cannot be called.

    Raises:
        SubscriptionError: It cannot.
    """
    if not callable(call):
        raise SubscriptionError(f"{call!r} cannot be called; subscribe a function or a method")


def _check_options(options: HandlerOptions) -> None:
    if options.get("on_error", "raise") not in {"raise", "log"}:
        raise SubscriptionError(f"on_error is {options.get('on_error')!r}; it takes 'raise' or 'log'")
    for name in options:
        if name not in HandlerOptions.__annotations__:
            remedy = did_you_mean(name, HandlerOptions.__annotations__)
            raise SubscriptionError(f"there is no option {name!r} of a subscription; {remedy}")


def check_event_type(event_type: object) -> None:
    """Refuse what is no class of events.

    Raises:
        SubscriptionError: It is something else.
    """
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        remedy = "name a class that derives from eventinit.Event, as in @bus.on(SomeEvent)"
        raise SubscriptionError(f"{event_type!r} is no event; {remedy}")
