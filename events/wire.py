"""Events as JSON, for whatever leaves the process."""

import json
from typing import Any, cast

from eventinit.errors import ConfigError
from eventinit.event import Event, subclasses
from eventinit.suggestion import did_you_mean


def to_json(event: Event) -> str:
    """Return the event as one line of JSON, ``{"event": its class, "data": its fields}``, without its context."""
    return json.dumps({"event": type(event).__name__, "data": event.model_dump(mode="json")})


def from_json(line: str) -> Event:
    """Return the event that ``to_json`` wrote; its class must have been imported.

    Raises:
        ConfigError: The line is no event, or of an unknown class.
    """
    try:
        content = cast("dict[str, Any]", json.loads(line))
        name, data = str(content["event"]), content["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{line:.60}", ["is no event; expected a line written by to_json"]) from error
    known = {kind.__name__: kind for kind in subclasses(Event)}
    if name not in known:
        raise ConfigError(name, [f"is no known event; {did_you_mean(name, known)}"])
    try:
        return known[name].model_validate(data)
    except ValueError as error:
        raise ConfigError(name, [f"its data do not fit: {error}"]) from error
