"""``eventinit run --explain``: who changed what, as text and on the terminal."""

import sys
from pathlib import Path
from typing import Any

import pytest

from eventinit import ABSENT, Change
from eventinit.change import Override
from eventinit.cli import main
from eventinit.cli.explain import explain
from eventinit.testing import Fakes

RULES = """
import os
import signal

import anyio
from eventinit import Veto, handles
from eventinit.events import PostEngineInit, PreDownload, PreEngineInit

class Rules:
    def __init__(self, end):
        self.end = end

    def on_pre_download(self, ctx):
        ctx.extra_init_kwargs["max_model_len"] = 64
        ctx.runtime_env["env_vars"] = {"HF_TOKEN": "hf_abc"}
        return Veto("the image carries the weights")

    async def on_post_engine_init(self, ctx):
        if self.end == "fail":
            raise OSError("no licence server")
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

@handles(PreEngineInit)
def tune(event):
    event.context.extra_init_kwargs["max_model_len"] = 128
"""


def change(path: str, old: Any, new: Any, handler: str, event: str = "PreDownload", at: float = 101.0) -> Change:
    field, *key = path.split(".")
    return Change(field, tuple(key), old, new, handler, event, at)


def test_changes_are_listed_in_order_with_time_values_handler_and_event() -> None:
    changes = [
        change("extra_init_kwargs.max_model_len", ABSENT, 4096, "Rules.on_pre_download", at=100.25),
        change("placement_group", None, "pg", "supply", "PrePlacementGroup", at=112.5),
    ]
    title, *lines = explain(changes, (), (), 100.0).splitlines()
    assert title == "who changed what:"
    assert [" ".join(line.split()) for line in lines] == [
        "0.25 s extra_init_kwargs.max_model_len absent -> 4096 Rules.on_pre_download on PreDownload",
        "12.50 s placement_group None -> 'pg' supply on PrePlacementGroup",
    ]
    assert lines[0].index("Rules.on_pre_download") == lines[1].index("supply on")


def test_nothing_changed_is_one_line() -> None:
    assert explain((), (), (), 0.0) == "nothing in the context was changed"


def test_an_override_says_who_wrote_in_which_order_and_whose_value_stands() -> None:
    first = change("custom_data.x", ABSENT, 1, "a")
    second = change("custom_data.x", 1, 2, "b", "PreEngineInit")
    again = change("custom_data.x", 2, 3, "b", "PreEngineInit")
    third = change("custom_data.x", 3, 4, "c", "PreEngineInit")
    other = change("custom_data.y", ABSENT, 1, "a")
    removed = change("custom_data.y", 1, ABSENT, "b")
    overrides = [
        Override("custom_data.x", first, second),
        Override("custom_data.y", other, removed),
        Override("custom_data.x", again, third),
    ]
    told = explain([first, second, other, removed, again, third], overrides, (), 100.0)
    assert told.partition("overridden:\n")[2].splitlines() == [
        "  custom_data.x: set by a on PreDownload, then set by b on PreEngineInit,"
        " then set by c on PreEngineInit: c's value stands",
        "  custom_data.y: set by a on PreDownload, then removed by b on PreDownload: b's removal stands",
    ]


def test_every_veto_is_told_also_when_nothing_was_changed() -> None:
    vetoes = [("download", "already_here: the image carries the weights"), ("placement_group", "alone: one is enough")]
    assert explain((), (), vetoes, 0.0).splitlines() == [
        "nothing in the context was changed",
        "vetoes:",
        "  download: already_here: the image carries the weights",
        "  placement_group: alone: one is enough",
    ]


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("closed")


class ManyLines:
    def __repr__(self) -> str:
        return "tensor([[1, 2],\n        [3, 4]])"


VALUES: list[object] = [
    "x" * 10_000,
    list(range(10_000)),
    {f"key{number}": "v" * 50 for number in range(4)},
    Unprintable(),
    ManyLines(),
]


@pytest.mark.parametrize("value", VALUES, ids=["text", "list", "dict", "unprintable", "many lines"])
def test_a_value_takes_one_short_line_whatever_it_is(value: object) -> None:
    told = explain([change("custom_data.x", value, value, "a")], (), (), 100.0)
    assert len(told.splitlines()) == 2
    assert len(told) < 250
    assert told.endswith("a on PreDownload")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Let the command start on fakes."""
    fakes = Fakes()
    monkeypatch.setattr("eventinit.initializer.real_backends", fakes.backends)
    return fakes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a module that configurations name."""
    (tmp_path / "explained_rules.py").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def run(folder: Path, *options: str, end: str) -> int:
    """Run a node whose handlers change, override and veto, and which ends with a failure or a signal."""
    rules = f"callback_class: explained_rules.Rules\ncallback_kwargs: {{end: {end}}}\nhandlers: [explained_rules.tune]"
    (folder / "node.yaml").write_text(f"model_id: m\n{rules}\n")
    return main(["run", "node.yaml", *options])


@pytest.mark.parametrize(("end", "status", "told"), [("fail", 1, "no licence server"), ("signal", 143, "SIGTERM")])
def test_run_explains_also_a_start_that_fails_or_is_cancelled(
    folder: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str], end: str, status: int, told: str
) -> None:
    assert run(folder, "--explain", end=end) == status
    printed = capsys.readouterr().err
    told_by_us, _, explained = printed.partition("who changed what:\n")
    assert told in printed
    for part in (
        "absent -> 64",
        "64 -> 128",
        "extra_init_kwargs.max_model_len: set by Rules.on_pre_download on PreDownload,"
        " then set by tune on PreEngineInit: tune's value stands",
        "download: Rules.on_pre_download: the image carries the weights",
    ):
        assert part in explained
    assert "engine_init      " in told_by_us
    assert "hf_abc" not in printed
    assert printed.count("who changed what:") == 1
    assert fakes.left_behind() == []


def test_run_explains_before_it_shows_the_error(folder: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, "--explain", end="fail")
    printed = capsys.readouterr().err
    assert printed.index("who changed what:") < printed.index("eventinit: ")


def test_run_explains_a_start_that_did_not_get_to_its_first_event(
    folder: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "node.yaml").write_text("model_id: m\nhandlers: [explained_rules.Missing]\n")
    assert main(["run", "node.yaml", "--explain"]) == 1
    told = capsys.readouterr().err
    assert told.index("nothing in the context was changed") < told.index("has no 'Missing'")


def test_run_explains_nothing_unless_asked(folder: Path, fakes: Fakes, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, end="fail") == 1
    assert "who changed what" not in capsys.readouterr().err
