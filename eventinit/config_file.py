"""Read a configuration file, with overrides from the environment."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, cast

import yaml

from eventinit.errors import ConfigError
from eventinit.suggestion import did_you_mean

PREFIX = "EVENTINIT_"
NOT_FIELDS = frozenset({"EVENTINIT_CACHE"})
"""Variables with our prefix that mean something else than a field."""


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the fields in a YAML file.

    Raises:
        ConfigError: The file cannot be read or is no mapping.
    """
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(str(path), ["there is no such file; check the path"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(str(path), [f"is no valid YAML: {error}"]) from error
    except RecursionError as error:
        raise ConfigError(str(path), ["is nested too deeply"]) from error
    if not isinstance(content, dict):
        problem = f"holds a {type(content).__name__}, not a mapping; write lines such as 'model_id: my-model'"
        raise ConfigError(str(path), [problem])
    return {str(key): value for key, value in cast("dict[object, Any]", content).items()}


def name_of_variable(field: str) -> str:
    """Return the environment variable that overrides a field."""
    return PREFIX + field.upper()


def read_variables(fields: Iterable[str], text_fields: Collection[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that ``EVENTINIT_<FIELD>`` variables set.

    A variable's value is JSON; one that is not JSON is taken as a string, and so is a number for a field of text.

    Raises:
        ConfigError: A variable names no field.
    """
    variables = {name_of_variable(field): field for field in fields}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in NOT_FIELDS:
            continue
        if name not in variables:
            raise ConfigError(f"environment variable {name}", [f"names no field; {did_you_mean(name, variables)}"])
        field = variables[name]
        values[field] = _json_or_text(text, text_only=field in text_fields)
    return values


def _json_or_text(text: str, *, text_only: bool) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if text_only and not isinstance(value, (str, NoneType)) else value
