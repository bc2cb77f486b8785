"""A bus with random handlers on it, which note what happens to them."""

import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, final

from anyio import from_thread, sleep_forever
from anyio.lowlevel import checkpoint

from eventinit import EventBus, Outcome, Subscription, Veto
from eventinit.errors import HandlerError
from tests.properties.handlers_strategy import Cancel, Deed, Emit, Handler, Labelled, Subscribe, make
from tests.properties.model import Result, may_emit, name_of, wants

THREAD_WORKS_S = 0.001
"""How long a handler in a thread takes, so that it is still at work when its emit is cancelled."""


@final
class Stage:
    """Subscribes handlers to a bus and carries out what they do.

    ``at_pause`` is called, in the event loop, whenever a handler gives way to others or works in a thread.

    Attributes:
        calls: The label of the event and the handler of each call, as it begins.
        results: What came of each emit that ended, by its label.
        emitted: Each event that was emitted, by its label, with the number of subscriptions there were.
        cancelled: The handlers whose ``cancel()`` has returned.
        in_threads: How many handlers are running in threads.
        wrong: Each call that should not have been made, in words.
    """

    def __init__(self, handlers: Sequence[Handler] = (), at_pause: Callable[[], None] = lambda: None) -> None:
        self.bus = EventBus()
        self.calls: list[tuple[str, str]] = []
        self.results: dict[str, Result] = {}
        self.emitted: dict[str, tuple[Labelled, int]] = {}
        self.cancelled: set[str] = set()
        self.in_threads = 0
        self.wrong: list[str] = []
        self.handlers: list[Handler] = []
        self._subscriptions: list[Subscription] = []
        self._at_pause = at_pause
        for handler in handlers:
            self.subscribe(handler)

    def subscribe(self, handler: Handler) -> None:
        """Put a handler on the bus."""
        order = len(self._subscriptions)
        options: dict[str, Any] = {
            "priority": handler.priority,
            "on_error": handler.on_error,
            "once": handler.once,
            "thread": handler.kind == "thread",
            "name": name_of(order),
        }
        if handler.parity is not None:
            options["where"] = partial(wants, handler)
        if handler.timeout is not None:
            options["timeout"] = handler.timeout
        self.handlers.append(handler)
        call: Any = self._function(handler, order)
        self._subscriptions.append(self.bus.on(handler.event_type, call, **options))

    async def do(self, deed: Deed, label: str, own: int | None = None) -> None:
        """Do what a program, or the handler that was subscribed as ``own``, does."""
        if isinstance(deed, Emit):
            await self.emit(make(deed.event_type, label, deed.n))
        else:
            self._do_at_once(deed, own)

    async def emit(self, event: Labelled) -> Result:
        """Emit an event and keep what came of it."""
        self.emitted[event.label] = (event, len(self._subscriptions))
        try:
            result = _as_result(await self.bus.emit(event))
        except HandlerError as error:
            result = Result(raised=tuple(map(_described, (error, *error.also))))
        self.results[event.label] = result
        return result

    def missing(self) -> list[str]:
        """Return, in words, which handlers were not called exactly once by each emit that should have called them."""
        count = Counter(self.calls)
        return [
            f"{name_of(order)} ran {count[label, name_of(order)]} times for {label}"
            for label, (event, subscribed) in self.emitted.items()
            for order, handler in enumerate(self.handlers[:subscribed])
            if not handler.once and name_of(order) not in self.cancelled
            if count[label, name_of(order)] != int(wants(handler, event))
        ]

    def _function(self, handler: Handler, order: int) -> Callable[[Any], Any]:
        async def asynchronous(event: Labelled) -> Any:
            self._note(event, order)
            for _ in range(handler.pauses):
                self._at_pause()
                await checkpoint()
            for number, deed in enumerate(handler.deeds):
                if not isinstance(deed, Emit) or may_emit(event.label):
                    await self.do(deed, f"{event.label}/{name_of(order)}.{number}", order)
            for _ in range(handler.pauses):
                self._at_pause()
                await checkpoint()
            if handler.answer == "hang":
                await sleep_forever()
            return _answer(handler, name_of(order))

        def plain(event: Labelled) -> Any:
            self._note(event, order)
            for deed in handler.deeds:
                assert not isinstance(deed, Emit)
                self._do_at_once(deed, order)
            return _answer(handler, name_of(order))

        def threaded(event: Labelled) -> Any:
            self.in_threads += 1
            try:
                from_thread.run_sync(self._at_pause)
                time.sleep(THREAD_WORKS_S)
                return plain(event)
            finally:
                self.in_threads -= 1

        def awaitable(event: Labelled) -> Awaitable[Any]:
            return asynchronous(event)

        return {"async": asynchronous, "awaitable": awaitable, "thread": threaded}.get(handler.kind, plain)

    def _do_at_once(self, deed: Subscribe | Cancel, own: int | None) -> None:
        if isinstance(deed, Subscribe):
            self.subscribe(deed.handler)
            return
        index = own if deed.index is None else deed.index
        if index is not None and self._subscriptions:
            self._cancel(index % len(self._subscriptions), in_a_thread=deed.in_a_thread)

    def _cancel(self, index: int, *, in_a_thread: bool) -> None:
        cancel = self._subscriptions[index].cancel
        if in_a_thread:
            thread = threading.Thread(target=cancel)
            thread.start()
            thread.join()
        else:
            cancel()
        self.cancelled.add(name_of(index))

    def _note(self, event: Labelled, order: int) -> None:
        name = name_of(order)
        if name in self.cancelled:
            self.wrong.append(f"{name} was cancelled and is called for {event.label}")
        if order >= self.emitted[event.label][1]:
            self.wrong.append(f"{name} was subscribed after {event.label} was emitted and is called for it")
        self.calls.append((event.label, name))


def _answer(handler: Handler, name: str) -> Any:
    if handler.answer == "failure":
        raise RuntimeError(name)
    answers = {"none": None, "true": True, "false": False, "veto": Veto(f"{name} says no"), "nonsense": 42}
    return answers[handler.answer]


def _as_result(outcome: Outcome) -> Result:
    return Result(
        vetoes=tuple((veto.handler, veto.priority, veto.reason) for veto in outcome.vetoes),
        logged=tuple(map(_described, outcome.errors)),
        timed=tuple(name for name, _seconds in outcome.durations),
    )


def _described(error: BaseException) -> tuple[str, str, str]:
    assert isinstance(error, HandlerError)
    return error.handler, error.event, type(error.__cause__).__name__
