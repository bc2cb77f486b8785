"""Values from a configuration that nothing can change afterwards."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

from eventinit.errors import FrozenConfigError


class FrozenDict(dict[str, Any]):
    """A dict that refuses to change; it still serialises, compares and unpacks like any dict."""

    __slots__ = ()

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise FrozenConfigError("a mapping of the configuration")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse  # pyright: ignore[reportAssignmentType]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return FrozenDict, (dict(self),)


def freeze(value: Any) -> Any:
    """Return a deep copy in which every mapping is a ``FrozenDict`` and every list a tuple."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return FrozenDict({key: freeze(item) for key, item in mapping.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in cast("Sequence[Any]", value))
    return value


def thaw(value: Any) -> Any:
    """Return a deep copy made of plain dicts and lists, as others' code expects it."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {key: thaw(item) for key, item in mapping.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(item) for item in cast("Sequence[Any]", value)]
    return value
