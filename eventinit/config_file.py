"""Read a configuration file, with overrides from the environment."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from eventinit.errors import ConfigError
from eventinit.suggestion import did_you_mean

PREFIX = "EVENTINIT_"
NOT_FIELDS = frozenset({"EVENTINIT_CACHE"})
"""Variables with our prefix that mean something else than a field."""


def read_config_file(path: Path, fields: Iterable[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields in a YAML file, with those on top that ``EVENTINIT_<FIELD>`` variables set.

    A variable's value is JSON; one that is not JSON is taken as a string.

    Raises:
        ConfigError: The file cannot be read or is no mapping, or a variable names no field.
    """
    return {**_read(path), **_overrides(list(fields), environ)}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(str(path), ["there is no such file; check the path"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [f"is no valid YAML: {error}"]) from error
    if not isinstance(content, dict):
        problem = f"holds a {type(content).__name__}, not a mapping; write lines such as 'model_id: my-model'"
        raise ConfigError(str(path), [problem])
    return {str(key): value for key, value in cast("dict[object, Any]", content).items()}


def _overrides(fields: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {PREFIX + field.upper(): field for field in fields}
    overrides: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in NOT_FIELDS:
            continue
        if name not in variables:
            raise ConfigError(f"environment variable {name}", [f"names no field; {did_you_mean(name, variables)}"])
        overrides[variables[name]] = _json_or_text(text)
    return overrides


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
