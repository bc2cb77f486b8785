"""The event bus: typed events in, handlers in order, observers beside them."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, Self, TypeVar, Unpack, final, overload

from anyio import move_on_after
from blinker import Signal

from eventinit.attachment import Attachment
from eventinit.emitter import Emitter
from eventinit.errors import BusError, EventTimeoutError, SubscriptionError
from eventinit.event import Event, VetoableEvent
from eventinit.handler import HandlerDecorator, HandlerOptions, VetoingHandlerDecorator, VetoResult
from eventinit.home_loop import HomeLoop
from eventinit.hooks import hooks_of
from eventinit.lane import Filter, Lane
from eventinit.marks import Mark, marked_methods
from eventinit.observers import ObserverSubscription
from eventinit.registry import Registry
from eventinit.serving import Serving
from eventinit.streams import EventStream, StreamLane
from eventinit.subscription import SubscriberStatus, Subscription, check_event_type

E = TypeVar("E", bound=Event)
V = TypeVar("V", bound=VetoableEvent)
L = TypeVar("L", bound=Lane)
ObserverCall = Callable[[E], None] | Callable[[E], Awaitable[None]]


@final
class EventBus(Emitter):
    """Carries typed events to handlers, which take part, and to observers, which watch.

    Handlers run inside ``emit``, one after another: higher priority first, then in the order of subscription. They may
    veto a ``VetoableEvent``, and what they raise fails the emit. Observers get each event in a task and a queue of
    their own while the bus is open (``async with bus:``); what is emitted before waits for them. A subscription to a
    class covers all that derive from it.

    Subscribing and cancelling are safe from any thread and during an emit: what is cancelled is not called any more,
    what is new begins with the next emit. A bus belongs to the event loop on which it is first used, until it is closed
    or that loop is over.

    Args:
        observer_queue_size: How many events wait for one observer or stream; a full queue loses its oldest.
        drain_timeout_s: How long closing waits for observers to take what is queued.

    Raises:
        BusError: An argument is no number, or too small.
    """

    def __init__(self, *, observer_queue_size: int = 1024, drain_timeout_s: float = 5.0) -> None:
        _check_number("observer_queue_size", observer_queue_size, least=1)
        _check_number("drain_timeout_s", drain_timeout_s, least=0)
        self._queue_size = observer_queue_size
        super().__init__(Registry(self), HomeLoop(self._forget_loop))
        self._signals = self._registry.signals
        self._serving = Serving(self._registry, self._home, drain_timeout_s, self.emit)

    @overload
    def on(self, event_type: type[V], **options: Unpack[HandlerOptions]) -> VetoingHandlerDecorator[V]: ...  # type: ignore[overload-overlap]
    @overload
    def on(self, event_type: type[E], **options: Unpack[HandlerOptions]) -> HandlerDecorator[E]: ...
    @overload
    def on(
        self,
        event_type: type[V],
        handler: Callable[[V], VetoResult] | Callable[[V], Awaitable[VetoResult]],
        **options: Unpack[HandlerOptions],
    ) -> Subscription: ...
    @overload
    def on(
        self,
        event_type: type[E],
        handler: Callable[[E], None] | Callable[[E], Awaitable[None]],
        **options: Unpack[HandlerOptions],
    ) -> Subscription: ...
    def on(
        self, event_type: type[Event], handler: Callable[[Any], Any] | None = None, **options: Unpack[HandlerOptions]
    ) -> Any:
        """Subscribe a handler: ``@bus.on(PreDownload)`` above a function, or ``bus.on(PreDownload, function)``.

        The second form returns the ``Subscription``. See ``HandlerOptions`` for the options.

        Raises:
            SubscriptionError: ``event_type`` is no event class, or the options do not fit the handler.
        """
        check_event_type(event_type)
        if handler is not None:
            return self._signals.subscribe(event_type, handler, options)

        def decorate(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self._signals.subscribe(event_type, function, options)
            return function

        return decorate

    @overload
    def observe(
        self, event_type: type[E], *, where: Filter | None = None, name: str | None = None
    ) -> Callable[[ObserverCall[E]], ObserverCall[E]]: ...
    @overload
    def observe(
        self, event_type: type[E], observer: ObserverCall[E], *, where: Filter | None = None, name: str | None = None
    ) -> Subscription: ...
    def observe(
        self,
        event_type: type[Event],
        observer: Callable[[Any], Any] | None = None,
        *,
        where: Filter | None = None,
        name: str | None = None,
    ) -> Any:
        """Subscribe an observer: ``@bus.observe(Event)`` above a function, or ``bus.observe(Event, function)``.

        A plain function runs in a worker thread, so that it cannot hold up the event loop. ``where`` is called with
        the event and says whether the observer gets it; ``name`` is what logs call it, by default its qualified name.

        Raises:
            SubscriptionError: ``event_type`` is no event class, or the observer cannot be called.
        """
        check_event_type(event_type)
        if observer is not None:
            return self._watch(event_type, observer, where, name)

        def decorate(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self._watch(event_type, function, where, name)
            return function

        return decorate

    def attach(self, thing: object, *, where: Filter | None = None) -> Attachment:
        """Subscribe the methods of an object that carry ``@handles`` or ``@observes``, and its ``on_…`` hooks.

        A function with marks can be attached as well. ``where`` is called with the event and says whether it counts.
        Each observing method has a queue of its own, so what two of them see comes in no common order.

        Raises:
            SubscriptionError: There is nothing to subscribe.
            HookNameError: A method is named like a hook and is none.
        """
        hooks = hooks_of(thing)
        with ExitStack() as undo:
            attached = [undo.enter_context(self._attach_marked(*marked, where)) for marked in marked_methods(thing)]
            for hook in hooks.handlers:
                entry = self._signals.subscribe(hook.event_type, hook.call, {"name": hook.name, "where": where})
                attached.append(undo.enter_context(entry))
            undo.pop_all()
        if not attached:
            remedy = "mark methods with @handles or @observes, or name them after a hook"
            raise SubscriptionError(f"{thing!r} has nothing to subscribe; {remedy}")
        return Attachment(attached, hooks.end)

    def stream(self, event_type: type[E], *, where: Filter | None = None) -> EventStream[E]:
        """Return the events of a class, from now on, as an async iterator; ``where`` says which of them.

        Raises:
            SubscriptionError: ``event_type`` is no event class.
        """
        check_event_type(event_type)
        return EventStream(
            self.add_lane(partial(StreamLane, event_type, where=where, home=self._home, size=self._queue_size))
        )

    async def wait_for(self, event_type: type[E], *, timeout: float | None = None, where: Filter | None = None) -> E:
        """Return the next event of a class for which ``where`` is true; one that was emitted before does not count.

        Raises:
            EventTimeoutError: It did not come within ``timeout`` seconds.
            BusError: The bus was closed meanwhile, or ``timeout`` is no number of seconds.
            SubscriptionError: ``event_type`` is no event class.
        """
        if timeout is not None:
            _check_number("timeout", timeout, least=0)
        with self.stream(event_type, where=where) as events, move_on_after(timeout) as limit:
            async for event in events:
                return event
        if limit.cancelled_caught:
            raise EventTimeoutError(event_type.__name__, timeout or 0.0)
        raise BusError(f"the bus was closed while somebody waited for {event_type.__name__}")

    def subscribers(self) -> tuple[SubscriberStatus, ...]:
        """Return who is subscribed and how each is doing, handlers first; observers set aside are included."""
        return self._registry.statuses()

    def add_lane(self, make: Callable[[Callable[[Any], None]], L]) -> L:
        """Show events to a lane of another kind, such as the recorder of ``eventinit.testing``, and return it.

        Args:
            make: Returns the lane; it is given what the lane's ``cancel`` is to call.
        """
        lane = make(self._registry.remove)
        self._registry.add(lane)
        return lane

    def signal(self, event_type: type[Event]) -> Signal:
        """Return the blinker signal of an event class, for receivers connected with blinker itself.

        A receiver takes part with priority 0 and is called as ``receiver(bus, event=event)``.

        Raises:
            SubscriptionError: ``event_type`` is no event class.
        """
        return self._signals.signal(event_type)

    @property
    def is_open(self) -> bool:
        """Whether observers are being served."""
        return self._serving.is_open

    async def open(self) -> None:
        """Begin to serve observers; an open bus counts how often it was opened.

        Raises:
            BusError: The bus belongs to another event loop.
        """
        await self._serving.open()

    async def aclose(self) -> None:
        """Close once; the last close gives observers ``drain_timeout_s`` to take what is queued, then ends them.

        Raises:
            BusError: The bus is not open.
        """
        await self._serving.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    def _watch(
        self, event_type: type[Event], observer: Callable[[Any], Any], where: Filter | None, name: str | None = None
    ) -> Subscription:
        make = partial(
            ObserverSubscription,
            event_type,
            observer,
            where=where,
            name=name,
            home=self._home,
            ring=self._serving.ring,
            size=self._queue_size,
            announce=self._serving.announcements.add,
            start_soon=self._serving.start_soon,
        )
        lane = self.add_lane(make)
        self._serving.serve(lane)
        return lane

    def _attach_marked(self, call: Callable[..., Any], mark: Mark, where: Filter | None) -> Subscription:
        if mark.observes:
            return self._watch(mark.event_type, call, where)
        return self._signals.subscribe(
            mark.event_type, call, {**mark.options, "where": _both(where, mark.options.get("where"))}
        )

    def _forget_loop(self) -> None:
        self._serving.forget_loop()


def _check_number(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise BusError(f"{name} is {value!r:.60}; it takes a number from {least} up")


def _both(first: Filter | None, second: Filter | None) -> Filter | None:
    if first is None or second is None:
        return first or second
    return lambda event: first(event) and second(event)
