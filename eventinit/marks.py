"""Marks on methods and functions, which ``bus.attach`` and a configuration's ``handlers`` read."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, Unpack, cast, overload

from eventinit.event import Event, VetoableEvent
from eventinit.handler import HandlerOptions, VetoResult
from eventinit.subscription import check_event_type

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)
V = TypeVar("V", bound=VetoableEvent)
F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__eventinit_marks__"


@dataclass(frozen=True, slots=True)
class Mark:
    """That a function handles or observes an event."""

    event_type: type[Event]
    observes: bool
    options: HandlerOptions = field(default_factory=HandlerOptions)


class HandlerMark(Protocol[E_co]):
    """Marks the method or function below it, which answers nothing; its arguments stay open, so that marks stack."""

    @overload
    def __call__(
        self, handler: Callable[[Any, E_co], Awaitable[None]] | Callable[[E_co], Awaitable[None]], /
    ) -> Callable[..., Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(self, handler: Callable[[Any, E_co], None] | Callable[[E_co], None], /) -> Callable[..., None]: ...


class VetoingHandlerMark(Protocol[E_co]):
    """Marks the method or function below it, which may veto, and returns it."""

    @overload
    def __call__(
        self, handler: Callable[[Any, E_co], Awaitable[VetoResult]] | Callable[[E_co], Awaitable[VetoResult]], /
    ) -> Callable[..., Coroutine[Any, Any, VetoResult]]: ...
    @overload
    def __call__(
        self, handler: Callable[[Any, E_co], VetoResult] | Callable[[E_co], VetoResult], /
    ) -> Callable[..., VetoResult]: ...


@overload
def handles(event_type: type[V], **options: Unpack[HandlerOptions]) -> VetoingHandlerMark[V]: ...  # type: ignore[overload-overlap]
@overload
def handles(event_type: type[E], **options: Unpack[HandlerOptions]) -> HandlerMark[E]: ...
def handles(event_type: type[Event], **options: Unpack[HandlerOptions]) -> Any:
    """Mark a method or function as a handler of an event; several marks on one are allowed.

    The options are those of ``bus.on``. ``bus.attach``, or a configuration's ``handlers``, subscribes what is marked.

    Raises:
        SubscriptionError: ``event_type`` is no event class.
    """
    check_event_type(event_type)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _mark(function, Mark(event_type, observes=False, options=options))

    return decorate


def observes(event_type: type[E]) -> HandlerMark[E]:
    """Mark a method or function as an observer of an event; several marks on one are allowed.

    Raises:
        SubscriptionError: ``event_type`` is no event class.
    """
    check_event_type(event_type)

    def decorate(function: Callable[..., Any]) -> Any:
        return _mark(function, Mark(event_type, observes=True))

    return decorate


def _mark(function: F, mark: Mark) -> F:
    setattr(function, _MARKS, (*marks_of(function), mark))
    return function


def marks_of(function: object) -> tuple[Mark, ...]:
    """Return the marks of a function or method, in the order in which they were set."""
    return cast("tuple[Mark, ...]", getattr(function, _MARKS, ()))


def marked_methods(thing: object) -> Iterator[tuple[Callable[..., Any], Mark]]:
    """Yield every marked method of an object with each of its marks; for a marked function the function itself."""
    if marks_of(thing):
        function = cast("Callable[..., Any]", thing)
        yield from ((function, mark) for mark in marks_of(thing))
        return
    # In the order of definition, base classes first. Looked up on the class, so that no property of the object is run.
    for name in dict.fromkeys(name for cls in reversed(type(thing).__mro__) for name in vars(cls)):
        for mark in marks_of(getattr(type(thing), name, None)):
            yield getattr(thing, name), mark
