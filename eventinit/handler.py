"""A handler's subscription: its options, and the types by which checkers tell a right handler from a wrong one."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypedDict, TypeVar, overload

from eventinit import clock
from eventinit.errors import SubscriptionError
from eventinit.event import Event
from eventinit.subscription import SubscriberStatus, Subscription, check_callable, is_async, name_of
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


class HandlerSubscription(Subscription):
    """A handler's place on a bus: what the dispatch of an event needs to know of it, worked out once.

    Attributes:
        owner: The object whose method the handler is, else the function itself.
        is_bare: Whether it has no option that asks for more than calling it.
        since: When its last call for an audited event began, while that is under way.
        calls: How often it was called; events that are still counted by a ``Plan`` are not in it.
    """

    __slots__ = (
        "_settle",
        "call",
        "calls",
        "failures",
        "is_async",
        "is_bare",
        "kind",
        "last_duration_s",
        "on_error",
        "once",
        "order",
        "owner",
        "priority",
        "since",
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
        *,
        settle: Callable[[], None],
        kind: Literal["handler", "receiver"] = "handler",
    ) -> None:
        check_callable(call)
        _check_options(options)
        super().__init__(event_type, options.get("name") or name_of(call), end)
        self.call = call
        self.order = order
        self._settle = settle
        self.kind: Literal["handler", "receiver"] = kind
        self.owner = getattr(call, "__self__", call)
        self.priority = options.get("priority", 0)
        self.once = options.get("once", False)
        self.timeout = options.get("timeout")
        self.thread = options.get("thread", False)
        self.on_error = options.get("on_error", "raise")
        self.where = options.get("where")
        self.is_async = is_async(call)
        self.is_bare = not (self.once or self.thread) and self.timeout is None and self.where is None
        self.warned = False
        self.calls = 0
        self.failures = 0
        self.last_duration_s: float | None = None
        self.since: float | None = None
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if self.thread and self.is_async:
            raise SubscriptionError(f"{self.name} is async and cannot run in a thread; leave thread=True out")
        if self.timeout is not None and not (self.thread or self.is_async):
            raise SubscriptionError(f"{self.name} is a plain function and cannot be timed out; add thread=True")

    def status(self) -> SubscriberStatus:
        """Return how the handler is doing."""
        self._settle()
        since = self.since
        return SubscriberStatus(
            self.name,
            self.event_type,
            self.kind,
            priority=self.priority,
            calls=self.calls,
            failures=self.failures,
            last_duration_s=self.last_duration_s,
            lag_s=0.0 if since is None else clock.monotonic() - since,
        )

    def __call__(self, _sender: object, *, event: Event) -> Any:
        """Take part in a raw ``signal.send`` like any blinker receiver."""
        return self.call(event)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TAKES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "priority": ("a number", _is_number),
    "once": ("True or False", lambda value: isinstance(value, bool)),
    "timeout": ("a number of seconds above 0", lambda value: _is_number(value) and value > 0),
    "thread": ("True or False", lambda value: isinstance(value, bool)),
    "on_error": ("'raise' or 'log'", lambda value: value in {"raise", "log"}),
    "where": (
        "a plain function of the event, or None",
        lambda value: value is None or (callable(value) and not is_async(value)),
    ),
    "name": ("a text", lambda value: isinstance(value, str)),
}
"""For each option what it takes, in words and as a check."""


def _check_options(options: HandlerOptions) -> None:
    for name, value in options.items():
        if name not in _TAKES:
            raise SubscriptionError(f"there is no option {name!r} of a subscription; {did_you_mean(name, _TAKES)}")
        expected, accepts = _TAKES[name]
        if not accepts(value):
            raise SubscriptionError(f"{name} is {value!r:.60}; it takes {expected}")
