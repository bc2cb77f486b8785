"""Every public name says what it is, where it stands."""

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import eventinit
import eventinit.errors
import eventinit.events
import eventinit.handlers
import eventinit.testing

ROOT = Path(__file__).parents[1]
PACKAGES = (eventinit, eventinit.events, eventinit.handlers, eventinit.testing)


def public_names(package: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in package.__all__:
        yield f"{package.__name__}.{name}", getattr(package, name)


def errors() -> Iterator[tuple[str, Any]]:
    for name, value in vars(eventinit.errors).items():
        if isinstance(value, type) and not name.startswith("_") and issubclass(value, eventinit.EventInitError):
            yield f"eventinit.errors.{name}", value


PUBLIC = dict([*(found for package in PACKAGES for found in public_names(package)), *errors()])
DOCUMENTED = {name: value for name, value in PUBLIC.items() if isinstance(value, type) or inspect.isfunction(value)}
CLASSES = {name: value for name, value in DOCUMENTED.items() if isinstance(value, type)}


def own_docstring(value: Any) -> str:
    """Return the docstring that stands at the name itself, not that of a base class."""
    return (vars(value).get("__doc__") if isinstance(value, type) else value.__doc__) or ""


def members(owner: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that are eventinit's, those of base classes included."""
    for base in owner.__mro__:
        if not base.__module__.startswith("eventinit"):
            continue
        for name, member in vars(base).items():
            call = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(call):
                yield f"{base.__name__}.{name}", call


def attributes(owner: type[Any]) -> set[str]:
    """Return the names of the public fields of a data class or model that are eventinit's."""
    bases = [base for base in owner.__mro__ if base.__module__.startswith("eventinit")]
    return {name for base in bases for name in inspect.get_annotations(base) if not name.startswith("_")}


def documented_values() -> set[str]:
    """Return the names of the package's module-level values that have a docstring below them."""
    found: set[str] = set()
    for folder in (ROOT / "eventinit", ROOT / "events", ROOT / "handlers"):
        for path in folder.rglob("*.py"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            for statement, below in pairwise(body):
                if isinstance(below, ast.Expr) and isinstance(statement, ast.Assign | ast.AnnAssign):
                    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                    found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    text = own_docstring(DOCUMENTED[name])
    # A data class without one gets its signature from Python.
    assert text
    assert not text.startswith(f"{name.rpartition('.')[2]}(")


def test_every_public_value_has_a_docstring_below_it() -> None:
    values = {name.rpartition(".")[2] for name in PUBLIC.keys() - DOCUMENTED.keys()}
    assert values >= {"ABSENT", "CATALOGUE", "DownloadMode"}
    assert values - documented_values() == set()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_public_method_and_field_is_documented(name: str) -> None:
    owner = CLASSES[name]
    assert [method for method, call in members(owner) if not call.__doc__] == []
    told = " ".join(base.__doc__ or "" for base in owner.__mro__ if base.__module__.startswith("eventinit"))
    assert [field for field in sorted(attributes(owner)) if not re.search(rf"\b{field}\b", told)] == []
