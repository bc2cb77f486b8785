"""Deep copies of containers: frozen, made of plain dicts and lists, or of the same kinds."""

from collections.abc import Callable, Mapping, Sequence, Set
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
    """Return a deep copy in which every mapping is a ``FrozenDict``, every list a tuple, every set frozen."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return FrozenDict({key: freeze(item) for key, item in mapping.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in cast("Sequence[Any]", value))
    return frozenset(cast("set[Any]", value)) if isinstance(value, set) else value


def thaw(value: Any) -> Any:
    """Return a deep copy made of plain dicts, lists and sets, as others' code expects it."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {key: thaw(item) for key, item in mapping.items()}
    if isinstance(value, (list, tuple)):
        return [thaw(item) for item in cast("Sequence[Any]", value)]
    return set(cast("Set[Any]", value)) if isinstance(value, (set, frozenset)) else value


def copied(value: Any) -> Any:
    """Return a deep copy of dicts, lists, tuples and sets; what else they hold may be anything and is not copied."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [copied(item) for item in cast("list[Any]", value)]
    if type(value) is tuple:
        return tuple(copied(item) for item in cast("tuple[Any, ...]", value))
    return cast("set[Any]", value).copy() if isinstance(value, set) else value
