"""Whether a model lies where one is looked for, or only in folders below."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from posixpath import dirname

from eventinit.errors import ModelNotFoundError

_CONFIG = "config.json"
_MARKS = (_CONFIG, "params.json", "model_index.json", "modules.json", "*.gguf", "*.safetensors")
"""By any of these a model is known, of transformers, Mistral, diffusers, sentence-transformers or llama.cpp."""

_SHOWN = 3


def require_root(source: str, names: Sequence[str]) -> None:
    """Refuse a place above models, where all of them would be fetched and none found.

    Args:
        source: The place.
        names: The paths of the files there, relative to it and with ``/`` between their parts.

    Raises:
        ModelNotFoundError: There are models in folders of the place, and none in itself.
    """
    if any("/" not in name and any(fnmatchcase(name, mark) for mark in _MARKS) for name in names):
        return
    below = sorted(dirname(name) for name in names if name.endswith(f"/{_CONFIG}"))
    if below:
        more = f" and {len(below) - _SHOWN} more" if len(below) > _SHOWN else ""
        raise ModelNotFoundError(
            source,
            f"no model lies here, but in {', '.join(below[:_SHOWN])}{more}; "
            f"set model_source to that folder, such as {source.rstrip('/')}/{below[0]}",
        )
