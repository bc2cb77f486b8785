"""What a bus is documented to do, as a plain list of handlers that is sorted anew for each event."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from eventinit import Veto, VetoableEvent
from tests.properties.handlers_strategy import Deed, Emit, Handler, Labelled, Subscribe, make

MAX_NESTING = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an emit: what it returned, or the failures that it raised.

    Attributes:
        vetoes: Handler, priority and reason of each.
        logged: Handler, event and kind of error of each failure that was only logged.
        raised: The same of each failure that was raised, the first one first.
        timed: The handlers whose durations were recorded.
    """

    vetoes: tuple[tuple[str, int, str], ...] = ()
    logged: tuple[tuple[str, str, str], ...] = ()
    raised: tuple[tuple[str, str, str], ...] = ()
    timed: tuple[str, ...] = ()


@dataclass(slots=True)
class Place:
    """A handler on the model's list."""

    handler: Handler
    order: int
    live: bool = True

    @property
    def name(self) -> str:
        """What the handler is called, on the bus as well."""
        return name_of(self.order)


def name_of(order: int) -> str:
    """Return what the handler that was subscribed as the ``order``-th is called."""
    return f"h{order}"


def may_emit(label: str) -> bool:
    """Return whether a handler of an event emits; not without end."""
    return label.count("/") < MAX_NESTING


def wants(handler: Handler, event: Labelled) -> bool:
    """Return whether a subscription covers an event."""
    return isinstance(event, handler.event_type) and handler.parity in {None, event.n % 2}


@dataclass(slots=True)
class Model:
    """Does with handlers what the bus should do, without running anything.

    Attributes:
        calls: The label of the event and the handler of each call.
        results: What came of each emit, by its label.
    """

    places: list[Place] = field(default_factory=list[Place])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    results: dict[str, Result] = field(default_factory=dict[str, Result])

    def subscribe(self, handler: Handler) -> None:
        """Put a handler on the list."""
        self.places.append(Place(handler, len(self.places)))

    def do(self, deed: Deed, label: str, own: int | None = None) -> None:
        """Do what a program, or the handler whose place is ``own``, does."""
        if isinstance(deed, Subscribe):
            self.subscribe(deed.handler)
        elif isinstance(deed, Emit):
            self.emit(make(deed.event_type, label, deed.n))
        else:
            index = own if deed.index is None else deed.index
            if index is not None and self.places:
                self.places[index % len(self.places)].live = False

    def emit(self, event: Labelled) -> Result:
        """Call the handlers of an event and keep what came of it."""
        now = [place for place in self.places if place.live and isinstance(event, place.handler.event_type)]
        done = [place for place in sorted(now, key=lambda place: -place.handler.priority) if self._call(place, event)]
        logged, raised = (
            tuple(
                (place.name, type(event).__name__, failure)
                for place in done
                if place.handler.on_error == kept and (failure := failure_of(place.handler))
            )
            for kept in ("log", "raise")
        )
        vetoes = tuple((place.name, place.handler.priority, reason) for place in done if (reason := veto_of(place)))
        timed = tuple(place.name for place in done) if event.audited else ()
        result = Result(raised=raised) if raised else Result(vetoes, logged, (), timed)
        self.results[event.label] = result
        return result

    def _call(self, place: Place, event: Labelled) -> bool:
        if not (place.live and wants(place.handler, event)):
            return False
        place.live = not place.handler.once
        self.calls.append((event.label, place.name))
        for number, deed in enumerate(place.handler.deeds):
            if not isinstance(deed, Emit) or may_emit(event.label):
                self.do(deed, f"{event.label}/{place.name}.{number}", place.order)
        return True


def modelled(handlers: Sequence[Handler], deeds: Sequence[Deed]) -> Model:
    """Return what the documentation says of what a program does; its steps are numbered."""
    model = Model()
    for handler in handlers:
        model.subscribe(handler)
    for number, deed in enumerate(deeds):
        model.do(deed, f"{number}")
    return model


def failure_of(handler: Handler) -> str | None:
    """Return the name of the error that comes of a handler's answer."""
    if handler.answer == "failure":
        return "RuntimeError"
    if handler.answer == "hang":
        return "TimeoutError"
    is_refused = handler.answer == "veto" and not issubclass(handler.event_type, VetoableEvent)
    return "VetoError" if is_refused or handler.answer == "nonsense" else None


def veto_of(place: Place) -> str | None:
    """Return the reason of the veto that a handler casts."""
    if not issubclass(place.handler.event_type, VetoableEvent):
        return None
    return {"false": Veto().reason, "veto": f"{place.name} says no"}.get(place.handler.answer)
