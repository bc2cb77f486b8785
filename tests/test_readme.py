"""What the README shows works."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, Veto
from eventinit.context import last_events
from eventinit.event import VetoableEvent
from eventinit.events import HOOKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str = "") -> str:
    """Return the first block of a language that contains a text."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in found if containing in text)


def names_in(program: str) -> dict[str, Any]:
    """Run a block as a module, and return what it defines."""
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec", dont_inherit=True), names)
    return names


def test_the_program_runs_as_it_stands(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block("python"), encoding="utf-8")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True)
    assert "hello from a fake engine" in done.stdout.splitlines()
    assert "PostInitialization" in done.stdout.splitlines()


@pytest.mark.anyio
async def test_the_bus_serves_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    names = names_in(block("python", "class Deploy"))
    bus = EventBus()
    bus.on(names["Deploy"], lambda event: Veto(f"{event.version} is too new"), name="gate")
    await names["deploy"](bus)
    assert capsys.readouterr().out == "not deployed: gate: 1.2 is too new\n"


@pytest.mark.anyio
async def test_the_test_of_a_handler_passes() -> None:
    await names_in(block("python", "async def test_"))["test_what_is_in_the_image_is_not_fetched"]()


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(block("yaml"), encoding="utf-8")
    assert LLMConfig.from_yaml(path).callback_kwargs == {"param": "value"}


def test_the_veto_table_is_that_of_the_events() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(on_\w+)\(ctx\)` \| (.*) \|$", README, re.MULTILINE)
    assert {hook: event for event, hook, _ in rows} == {hook: kind.__name__ for hook, kind in HOOKS.items()}
    for _, hook, effect in rows:
        assert issubclass(HOOKS[hook], VetoableEvent) == (effect != "\N{EN DASH}"), hook


def test_the_context_table_is_that_of_the_context() -> None:
    section = README.partition("### The context")[2].partition("The download modes")[0]
    told = {
        name: re.findall(r"`(\w+)`", row[1])[:1]
        for row in re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row[0])
    }
    known = last_events()
    assert set(told) == set(known)
    for name, last in known.items():
        assert told[name] == ([last] if last and last.startswith(("Pre", "Post")) else []), name
