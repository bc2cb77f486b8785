"""``eventinit events``: every event of a start."""

import inspect

from eventinit.context import last_events
from eventinit.event import VetoableEvent
from eventinit.events import CATALOGUE, StartEvent


def show_events() -> int:
    """Print when each event fires, what can be vetoed, and until when each field can be changed. Return 0."""
    print("Events in the order in which they fire (download and placement group run at the same time):\n")
    for kind in CATALOGUE:
        print(f"{kind.__name__}{_notes(kind)}")
        print(f"    {_when(kind)}")
    print("\nFields of the context, and the last event in which a handler can set each:\n")
    for name, last in last_events().items():
        print(f"  {name:<28} {last or 'set by the system'}")
    return 0


def _notes(kind: type[StartEvent]) -> str:
    notes = [f"hook {kind.hook}"] if kind.hook else []
    if issubclass(kind, VetoableEvent):
        notes.append("can be vetoed")
    return f"  ({', '.join(notes)})" if notes else ""


def _when(kind: type[StartEvent]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")
