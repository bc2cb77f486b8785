"""Which class a configuration names, and the one instance of it that a process has."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventinit import LLMConfig, NodeInitializationContext, initialize_node
from eventinit.dotted_path import import_dotted
from eventinit.errors import ConfigError, ConstructorError, DottedPathError, HandlerError
from eventinit.testing import Fakes

pytestmark = pytest.mark.anyio


class Counting:
    """A callback that knows how many of it there are."""

    instances: list["Counting"] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, name: str = "", **kwargs: Any) -> None:
        self.name = name
        self.kwargs = kwargs
        self.starts = 0
        type(self).instances.append(self)

    def on_pre_initialization(self, _ctx: NodeInitializationContext) -> None:
        self.starts += 1


class Strict:
    """A callback that needs an argument."""

    def __init__(self, needed: int) -> None:
        if needed < 0:
            raise RuntimeError("cannot be negative")

    def on_pre_download(self, _ctx: NodeInitializationContext) -> None: ...


class Outer:
    """Holds a callback class."""

    class Inner(Counting):
        """A callback class inside a class."""


NOT_A_CLASS = 5
COUNTING = f"{__name__}.Counting"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put new classes in the place of these, since the process keeps the instances of the old ones."""
    counting = type("Counting", (Counting,), {"instances": []})
    monkeypatch.setattr(sys.modules[__name__], "Counting", counting)
    monkeypatch.setattr(Outer, "Inner", type("Inner", (counting,), {}))


async def start(cls: object, **callback_kwargs: Any) -> None:
    """Start a node with a callback on fakes and stop it."""
    named: Any = cls
    config = LLMConfig(model_id="m", callback_class=named, callback_kwargs=callback_kwargs)
    fakes = Fakes()
    try:
        async with initialize_node(config, backends=fakes.backends()):
            pass
    finally:
        assert fakes.left_behind() == []


async def test_the_same_class_and_arguments_share_one_instance_however_they_are_named() -> None:
    for named in (Counting, COUNTING, f"{__name__}:Counting"):
        await start(named, name="one", nested={"a": [1]})
    assert [(instance.name, instance.starts) for instance in Counting.instances] == [("one", 3)]


async def test_other_arguments_or_another_class_mean_another_instance() -> None:
    class Derived(Counting):
        pass

    await start(Counting, name="a1")
    await start(Counting, name="a2")
    await start(Counting, name="a2", more=1)
    await start(Derived, name="a2")
    assert [(type(one).__name__, one.name, one.starts) for one in Counting.instances] == [
        ("Counting", "a1", 1),
        ("Counting", "a2", 1),
        ("Counting", "a2", 1),
        ("Derived", "a2", 1),
    ]


async def test_arguments_that_compare_equal_but_differ_are_told_apart() -> None:
    await start(Counting, name="equal", verbose=1)
    await start(Counting, name="equal", verbose=True)
    assert [instance.kwargs["verbose"] for instance in Counting.instances] == [1, True]
    assert len(Counting.instances) == 2


async def test_arguments_reach_the_constructor_as_plain_dicts_and_lists() -> None:
    await start(Counting, name="plain", nested={"list": [{"a": 1}]})
    nested = Counting.instances[0].kwargs["nested"]
    nested["list"].append(2)
    nested["list"][0]["b"] = 2
    assert nested == {"list": [{"a": 1, "b": 2}, 2]}


async def test_a_class_inside_a_class_is_named_with_a_colon() -> None:
    await start(f"{__name__}:Outer.Inner", name="inner")
    assert [type(instance) for instance in Counting.instances] == [Outer.Inner]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("no_such_module.Callback", ["no_such_module"]),
        ("no_such_module:Callback", ["no_such_module"]),
        (f"{__name__}.Countin", ["Countin", "'Counting'"]),
        (f"{__name__}:Outer.Innr", ["Innr"]),
        (f"{__name__}.NOT_A_CLASS", ["int", "not a class"]),
        (f"{__name__}.start", ["function", "not a class"]),
        ("JustAName", ["my_module.MyClass"]),
        (".Callback", [".Callback"]),
        ("module.", ["module."]),
        (":Callback", [":Callback"]),
    ],
)
async def test_a_dotted_path_that_leads_to_no_class_is_one_clear_error(path: str, parts: list[str]) -> None:
    with pytest.raises(DottedPathError) as caught:
        await start(path)
    assert isinstance(caught.value, ConfigError)
    for part in [repr(path), *parts]:
        assert part in str(caught.value)


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Give a function that writes a module with this text and returns its name."""

    def write(text: str) -> str:
        name = f"module_of_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import no_such_dependency\n", "no_such_dependency"),
        ("raise RuntimeError('no licence')\n", "no licence"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
async def test_a_module_that_cannot_be_imported_is_named_with_the_reason(
    write_module: Callable[[str], str], text: str, expected: str
) -> None:
    name = write_module(text)
    with pytest.raises(DottedPathError, match=expected) as caught:
        await start(f"{name}.Callback")
    assert name in str(caught.value)


def test_a_module_that_ends_the_process_when_imported_is_named_too(write_module: Callable[[str], str]) -> None:
    """A script without a guard for __main__; asked of the import alone, since SystemExit would end the test run."""
    name = write_module("import sys\nsys.exit(3)\n")
    with pytest.raises(DottedPathError, match=name):
        import_dotted(f"{name}.Callback")


async def test_a_callback_is_imported_from_a_module_that_nobody_has_imported_yet(
    write_module: Callable[[str], str],
) -> None:
    name = write_module("class Callback:\n    def on_pre_download(self, ctx):\n        raise KeyError('here I am')\n")
    with pytest.raises(HandlerError, match="here I am"):
        await start(f"{name}.Callback")


@pytest.mark.parametrize(
    ("kwargs", "reason"), [({}, "needed"), ({"wrong": 1}, "wrong"), ({"needed": -1}, "cannot be negative")]
)
async def test_a_constructor_that_refuses_is_named_with_its_reason_and_the_key_to_mend(
    kwargs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConstructorError, match=reason) as caught:
        await start(Strict, **kwargs)
    assert isinstance(caught.value, (ConfigError, TypeError))
    assert "Strict" in str(caught.value)
    assert "callback_kwargs" in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_a_constructor_that_refused_is_asked_again_next_time() -> None:
    with pytest.raises(ConstructorError):
        await start(Strict)
    await start(Strict, needed=1)
