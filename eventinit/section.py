"""What every section of the configuration is: frozen, strict about its keys, and clear about what is wrong."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from eventinit.errors import ConfigError, FrozenConfigError
from eventinit.frozen import freeze
from eventinit.suggestion import did_you_mean


def _freeze(value: Mapping[str, Any]) -> Any:
    try:
        return freeze(value)
    except RecursionError:
        raise ValueError("holds itself, or is nested too deeply; take the alias (*name) out") from None


FrozenMapping = Annotated[Mapping[str, Any], AfterValidator(_freeze)]

_FOLLOW_UP = "default_factory_not_called"
"""Pydantic's complaint about a default that depends on another field, which has a complaint of its own."""


@contextmanager
def _one_config_error(model: type[BaseModel]) -> Generator[None]:
    try:
        yield
    except ValidationError as error:
        problems = [_problems(model, dict(item)) for item in error.errors() if item["type"] != _FOLLOW_UP]
        raise ConfigError(model.__name__, list(chain.from_iterable(problems))) from None


def _problems(model: type[BaseModel], item: dict[str, Any]) -> Sequence[str]:
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError) and not item["loc"]:
        return cause.problems
    return [_problem(model, item)]


def _problem(model: type[BaseModel], item: dict[str, Any]) -> str:
    location = cast("tuple[str | int, ...]", item["loc"])
    where = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        return f"unknown key {where!r}; {did_you_mean(str(location[-1]), model.model_fields)}"
    if item["type"] == "missing":
        return f"{where!r} is missing"
    problem = str(item["msg"]).removeprefix("Value error, ")
    return f"{where!r}: {problem}" if where else problem


class Section(BaseModel):
    """A frozen part of the configuration; whatever is wrong with it is one ``ConfigError``."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # Hidden from type checkers, which take the constructor's parameters from the fields.
    if not TYPE_CHECKING:

        def __init__(self, /, **values: Any) -> None:
            with _one_config_error(type(self)):
                super().__init__(**values)

        @classmethod
        def model_validate(cls, *args: Any, **kwargs: Any) -> Self:
            """Return the section that a mapping describes."""
            with _one_config_error(cls):
                return super().model_validate(*args, **kwargs)

        @classmethod
        def model_validate_json(cls, *args: Any, **kwargs: Any) -> Self:
            """Return the section that a JSON object describes."""
            with _one_config_error(cls):
                return super().model_validate_json(*args, **kwargs)

        def __setattr__(self, name: str, value: Any) -> None:
            raise FrozenConfigError(f"{type(self).__name__}.{name}")

        def __delattr__(self, name: str) -> None:
            raise FrozenConfigError(f"{type(self).__name__}.{name}")
