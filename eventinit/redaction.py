"""Keep secrets out of everything that is shown."""

import re
from collections.abc import Mapping
from typing import Any, cast

HIDDEN = "***"
_WORDS = "token|secret|password|passwd|credential|credentials|authorization|api_?key|access_?key|private_?key"
_SECRET_NAME = re.compile(rf"(?:^|[^a-z0-9])(?:{_WORDS})(?:$|[^a-z0-9])", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def redact(name: str, value: Any) -> Any:
    """Return the value, with whatever its name or a key inside it calls a secret replaced by ``***``."""
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, Any]", value)
        return {key: redact(str(key), item) for key, item in mapping.items()}
    if isinstance(value, (list, tuple)):
        return [redact("", item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(f"{HIDDEN}@", value)
    return value
