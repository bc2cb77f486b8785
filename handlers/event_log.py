"""A log of every event as lines of JSON."""

from os import PathLike
from pathlib import Path
from typing import final

from eventinit.errors import ConfigError
from eventinit.event import Event
from eventinit.events import to_json
from eventinit.marks import observes


@final
class EventLog:
    """Appends each event of a bus to a file, one line of JSON each; ``eventinit.events.from_json`` reads a line back.

    An observer: attach it with ``bus.attach(EventLog("events.jsonl"))``, or name it in a configuration:

        handlers:
          - path: eventinit.handlers.EventLog
            kwargs: {path: events.jsonl}

    A line is on its way to the disk before the next event is taken, and no file is held open between two, so that the
    log may be read, rotated or removed at any time. A configuration's log gets the events of its own node, an attached
    one all events of the bus.

    Args:
        path: The file; it is made with the first event, in a folder that exists. ``~`` is the user's home.

    Raises:
        ConfigError: The file cannot be there: its folder does not exist, or it is a folder itself.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        _refuse_unusable(self.path)

    @observes(Event)
    def write(self, event: Event) -> None:
        """Append one event as a line of JSON; a failure counts as one of the observer."""
        # A plain function, which the bus runs in a worker thread: a slow disk holds nobody up.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(to_json(event) + "\n")

    def __repr__(self) -> str:
        return f"EventLog({str(self.path)!r})"


def _refuse_unusable(path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigError(f"event log {path}", [f"there is no folder {path.parent}; make it, or name another file"])
    if path.is_dir():
        raise ConfigError(f"event log {path}", ["is a folder; name a file in it, such as events.jsonl"])
