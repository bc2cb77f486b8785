"""The commands that start nothing, and how bad input is told."""

import sys
from pathlib import Path

import pytest

from eventinit.cli import main
from eventinit.events import CATALOGUE, HOOKS

CALLBACK = """
from eventinit import handles
from eventinit.events import PreDownload

class Rules:
    def __init__(self, limit=1):
        self.limit = limit
    def on_pre_engine_init(self, ctx): ...
    async def on_post_download(self, ctx): ...

class Misspelt:
    def on_pre_downlaod(self, ctx): ...

class Broken:
    def __init__(self):
        raise OSError("no licence file")

class Audit:
    @handles(PreDownload)
    def look(self, event): ...

@handles(PreDownload)
def marked(event): ...

def unmarked(event): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a module that configurations name."""
    (tmp_path / "site_rules.py").write_text(CALLBACK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def write(folder: Path, text: str) -> str:
    path = folder / "node.yaml"
    path.write_text(text)
    return str(path)


def test_events_lists_every_event_hook_and_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events"]) == 0
    told = capsys.readouterr().out
    for name in (*(kind.__name__ for kind in CATALOGUE), *HOOKS, "extra_init_kwargs"):
        assert name in told
    assert told.count("can be vetoed") == 3


def test_check_shows_what_would_happen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(
        folder,
        """
        model_id: tiny
        model_source: s3://models/tiny
        callback_class: site_rules.Rules
        callback_kwargs: {limit: 2}
        handlers: [{path: "site_rules:Audit"}, site_rules.marked]
        engine_kwargs: {tensor_parallel_size: 2, hf_token: hf_abc}
        """,
    )
    assert main(["check", config]) == 0
    told = capsys.readouterr().out
    for part in (
        "from s3://models/tiny",
        "2 bundle(s)",
        "Rules.on_post_download on PostDownload",
        "Rules.on_pre_engine_init on PreEngineInit",
        "Audit.look on PreDownload",
        "marked on PreDownload",
    ):
        assert part in told
    assert "hf_abc" not in told


BAD: list[tuple[str, str, str]] = [
    ("a misspelt key", "model_id: tiny\nmodel_sorce: x", "unknown key 'model_sorce'; did you mean 'model_source'?"),
    ("no mapping", "- model_id", "holds a list, not a mapping"),
    ("no YAML", "model_id: [", "is no valid YAML"),
    ("no model", "engine_kwargs: {}", "'model_id' is missing"),
    ("no such module", "model_id: m\ncallback_class: nowhere.Rules", "there is no module 'nowhere'"),
    ("no such class", "model_id: m\ncallback_class: site_rules.Ruls", "has no 'Ruls'; did you mean 'Rules'?"),
    ("no class", "model_id: m\ncallback_class: site_rules.unmarked", "not a class"),
    ("no dotted path", "model_id: m\ncallback_class: Rules", "is no dotted path"),
    (
        "refused arguments",
        "model_id: m\ncallback_class: site_rules.Rules\ncallback_kwargs: {limits: 3}",
        "unexpected keyword argument 'limits'",
    ),
    ("a constructor that fails", "model_id: m\ncallback_class: site_rules.Broken", "OSError: no licence file"),
    (
        "a misspelt hook",
        "model_id: m\ncallback_class: site_rules.Misspelt",
        "'on_pre_downlaod', which is no hook and would never be called; did you mean 'on_pre_download'?",
    ),
    ("a function without a mark", "model_id: m\nhandlers: [site_rules.unmarked]", "@handles"),
    ("an unknown store", "model_id: m\nmodel_source: ftp://x/y", "ftp:// is not supported"),
]


@pytest.mark.parametrize(("text", "told"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_input_is_one_clear_error(
    command: str, text: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, write(folder, text)]) == 1
    printed = capsys.readouterr()
    assert told in printed.err
    assert "Traceback" not in printed.err + printed.out


def test_a_missing_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere.yaml"]) == 1
    assert "nowhere.yaml: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "check", "nowhere.yaml"], ["check", "nowhere.yaml", "--debug"]])
def test_debug_shows_the_traceback(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may stand before or after the command."""
    assert main(words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_check_looks_for_a_local_model_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write(folder, "model_id: m\nmodel_source: ./no-such-model")]) == 1
    assert "./no-such-model: no such folder; set model_source" in capsys.readouterr().err


def test_an_unknown_key_that_is_like_no_other_gets_a_list_of_the_known_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", write(folder, "model_id: m\nzzzz: 1")]) == 1
    assert "unknown key 'zzzz'; known are callback_class, " in capsys.readouterr().err


def test_a_variable_overrides_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVENTINIT_ENGINE_KWARGS", '{"max_model_len": 77}')
    assert main(["check", write(folder, "model_id: m\nengine_kwargs: {max_model_len: 1}")]) == 0
    assert "'max_model_len': 77" in capsys.readouterr().out
