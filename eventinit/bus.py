"""The event bus: typed events in, handlers in order, observers beside them."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Self, TypeVar, Unpack, final, overload

from anyio import CancelScope, Lock, move_on_after
from blinker import Signal

from eventinit.attachment import Attachment, drain
from eventinit.background import BackgroundTasks
from eventinit.dispatch import NOTHING_HAPPENED, Outcome, dispatch
from eventinit.errors import BusError, SubscriptionError
from eventinit.event import Event, VetoableEvent
from eventinit.hooks import hooks_of
from eventinit.marks import Mark, marked_methods
from eventinit.observers import ObserverSubscription
from eventinit.signals import HandlerSignals
from eventinit.subscription import (
    HandlerDecorator,
    HandlerOptions,
    Subscription,
    VetoingHandlerDecorator,
    VetoResult,
    check_event_type,
)

E = TypeVar("E", bound=Event)
V = TypeVar("V", bound=VetoableEvent)
ObserverCall = Callable[[E], None] | Callable[[E], Awaitable[None]]
Filter = Callable[[Any], bool]


@final
class EventBus:
    """Carries typed events to handlers, which take part, and to observers, which watch.

    Handlers run inside ``emit``, one after another: higher priority first, then in the order of subscription. They may
    veto a ``VetoableEvent``, and what they raise fails the emit. Observers get each event in a task and a queue of
    their own while the bus is open (``async with bus:``); what is emitted before waits for them. A subscription to a
    class covers all that derive from it.

    Args:
        observer_queue_size: How many events wait for one observer; a full queue loses its oldest.
        drain_timeout_s: How long closing waits for observers to take what is queued.
    """

    def __init__(self, *, observer_queue_size: int = 1024, drain_timeout_s: float = 5.0) -> None:
        self._observer_queue_size = observer_queue_size
        self._drain_timeout_s = drain_timeout_s
        self._signals = HandlerSignals(self)
        self._observers: list[ObserverSubscription] = []
        self._background: BackgroundTasks | None = None
        self._opened = 0
        self._gate: Lock | None = None

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
        self, event_type: type[E], *, where: Filter | None = None
    ) -> Callable[[ObserverCall[E]], ObserverCall[E]]: ...
    @overload
    def observe(
        self, event_type: type[E], observer: ObserverCall[E], *, where: Filter | None = None
    ) -> Subscription: ...
    def observe(
        self, event_type: type[Event], observer: Callable[[Any], Any] | None = None, *, where: Filter | None = None
    ) -> Any:
        """Subscribe an observer: ``@bus.observe(Event)`` above a function, or ``bus.observe(Event, function)``.

        A plain function runs in a worker thread, so that it cannot hold up the event loop. ``where`` is called with
        the event and says whether the observer gets it.

        Raises:
            SubscriptionError: ``event_type`` is no event class.
        """
        check_event_type(event_type)
        if observer is not None:
            return self._watch(event_type, observer, where)

        def decorate(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self._watch(event_type, function, where)
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

    async def emit(self, event: Event) -> Outcome:
        """Run the event's handlers, hand it to its observers, and return what came of it.

        Raises:
            HandlerError: A handler failed; all of them have run.
            BusError: It is no event.
        """
        if not isinstance(event, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BusError(f"{event!r:.80} is no event; emit an instance of a class that derives from eventinit.Event")
        handlers = self._signals.handlers_of(type(event))
        try:
            return await dispatch(event, handlers) if handlers else NOTHING_HAPPENED
        finally:
            if self._observers:
                self._show(event)

    def signal(self, event_type: type[Event]) -> Signal:
        """Return the blinker signal of an event class, for receivers connected with blinker itself.

        A receiver takes part with priority 0 and is called as ``receiver(bus, event=event)``.
        """
        return self._signals.signal(event_type)

    @property
    def is_open(self) -> bool:
        """Whether observers are being served."""
        return self._opened > 0

    async def open(self) -> None:
        """Begin to serve observers; an open bus counts how often it was opened."""
        self._gate = self._gate or Lock()
        async with self._gate:
            if self._opened == 0:
                background = BackgroundTasks()
                await background.open()
                self._background = background
                for observer in self._observers:
                    self._serve(observer)
            self._opened += 1

    async def aclose(self) -> None:
        """Close once; the last close gives observers ``drain_timeout_s`` to take what is queued, then ends them.

        Raises:
            BusError: The bus is not open.
        """
        self._gate = self._gate or Lock()
        # An open() that comes while the last close drains waits, since an observer has one task at a time.
        with CancelScope(shield=True):
            async with self._gate:
                if self._background is None:
                    raise BusError("the bus is not open; use 'async with bus:'")
                self._opened -= 1
                if self._opened == 0:
                    await self._stop_observers(self._background)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def _stop_observers(self, background: BackgroundTasks) -> None:
        with move_on_after(self._drain_timeout_s):
            await drain(self._observers)
        self._background = None
        await background.aclose()

    def _watch(self, event_type: type[Event], observer: Callable[[Any], Any], where: Filter | None) -> Subscription:
        lane = ObserverSubscription(
            event_type, observer, self._forget, queue_size=self._observer_queue_size, where=where
        )
        self._observers.append(lane)
        if self._background is not None:
            self._serve(lane)
        return lane

    def _attach_marked(self, call: Callable[..., Any], mark: Mark, where: Filter | None) -> Subscription:
        if mark.observes:
            return self._watch(mark.event_type, call, where)
        return self._signals.subscribe(
            mark.event_type, call, {**mark.options, "where": _both(where, mark.options.get("where"))}
        )

    def _forget(self, lane: Subscription) -> None:
        self._observers = [other for other in self._observers if other is not lane]

    def _serve(self, lane: ObserverSubscription) -> None:
        assert self._background is not None
        self._background.start_soon(lane.run, f"eventinit observer {lane.name}")

    def _show(self, event: Event) -> None:
        lanes = [lane for lane in self._observers if isinstance(event, lane.event_type) and lane.wants(event)]
        if lanes:
            seen = event.observed()
            for lane in lanes:
                lane.put(seen)


def _both(first: Filter | None, second: Filter | None) -> Filter | None:
    if first is None or second is None:
        return first or second
    return lambda event: first(event) and second(event)
