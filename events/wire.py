"""Events as JSON, for whatever leaves the process."""

import json
from typing import Any, cast

from eventinit.dotted_path import dotted_path_of
from eventinit.errors import ConfigError
from eventinit.event import Event, subclasses
from eventinit.suggestion import did_you_mean


def to_json(event: Event) -> str:
    """Return the event as one line of JSON, ``{"event": its class, "data": its fields}``, without its context.

    The classes of ``eventinit.events`` go by their name, all others by ``module:name``.
    """
    return json.dumps({"event": _wire_name(type(event)), "data": event.model_dump(mode="json")})


def from_json(line: str) -> Event:
    """Return the event that ``to_json`` wrote; its class must have been imported.

    Raises:
        ConfigError: The line is no event, or of an unknown class, or of one of several that bear the same name.
    """
    try:
        content = cast("dict[str, Any]", json.loads(line))
        name, data = str(content["event"]), content["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{line:.60}", ["is no event; expected a line written by to_json"]) from error
    kind = _class_of(name)
    try:
        return kind.model_validate(data)
    except ValueError as error:
        raise ConfigError(name, [f"its data do not fit: {error}"]) from error


def _wire_name(kind: type[Event]) -> str:
    return kind.__name__ if kind.__module__.startswith("eventinit.events.") else dotted_path_of(kind)


def _class_of(name: str) -> type[Event]:
    # A class that derives from two events comes twice.
    known = set(subclasses(Event))
    found = [kind for kind in known if _wire_name(kind) == name]
    if not found:
        raise ConfigError(name, [f"is no known event; {did_you_mean(name, map(_wire_name, known))}"])
    if len(found) > 1:
        raise ConfigError(name, [f"is the name of {len(found)} events, as after a reload; define each event once"])
    return found[0]
