"""Keep secrets out of everything that is shown."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

HIDDEN = "***"
_CAMEL_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_LETTERS = re.compile(r"[^a-z]+")
_KEYS = "access|account|api|encryption|master|private|shared|signing|ssh|subscription"
# Tokens of a text, such as bos_token_id and long_prefill_token_threshold, are no secrets.
_ACCESS_WORD = (
    r"(?<!(?:bos|eos|pad|unk|cls|sep)_)(?<!mask_)token(?!_(?:ids?|index|count|limit|budget|threshold)(?:_|$))"
)
_WORDS = "secrets?|passwords?|passwd|passphrase|credentials?|authorization|connection_string"
_SECRET_NAME = re.compile(rf"(?:{_ACCESS_WORD}|{_WORDS}|(?:{_KEYS})_?keys?)(?:_|$)")
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")


def is_secret(name: str) -> bool:
    """Return whether a name calls its value a secret, as ``HF_TOKEN``, ``x-api-key`` and ``accessToken`` do."""
    return _SECRET_NAME.search(_NO_LETTERS.sub("_", _CAMEL_HUMP.sub("_", name).lower())) is not None


def redact(name: str, value: Any) -> Any:
    """Return the value, with whatever its name or a key inside it calls a secret replaced by ``***``."""
    if is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, Any]", value)
        return {key: redact(str(key), item) for key, item in mapping.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact("", item) for item in cast("Iterable[Any]", value)]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(f"{HIDDEN}@", value)
    return value
