"""``eventinit cache``, as it is typed, on models that were really fetched."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from eventinit.cli import main
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.store_source import StoreSource
from tests.cli.unfinished import leave_unfinished
from tests.downloads.scripted_store import ScriptedStore, content, ignore

FILES = {"config.json": b"{}", "model.bin": content(1, 300_000)}
TOTAL = sum(map(len, FILES.values()))
DAY_S = 86400

Told = Callable[[], str]


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, of eventinit and of the Hub."""
    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return lambda: capsys.readouterr().out


def fetch(name: str, *, days_ago: float = 0) -> Path:
    """Fetch a model of this name, and let it look as if it had been used so long ago."""
    store = ScriptedStore(FILES, source=f"s3://models/{name}", identity=name, algorithm="sha256")

    async def run() -> Path:
        return (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path

    path = anyio.run(run)
    used_at = time.time() - days_ago * DAY_S
    os.utime(path / ".eventinit" / "manifest.jsonl", (used_at, used_at))
    return path


def test_an_empty_cache_is_told_with_its_places(told: Told, caches: Path) -> None:
    assert main(["cache", "list"]) == 0
    text = told()
    assert f"{caches} (EVENTINIT_CACHE)" in text
    assert "(HF_HOME)" in text


def test_list_shows_each_model_with_its_source_size_state_and_age(told: Told) -> None:
    path = fetch("tiny", days_ago=3)
    leave_unfinished("large")

    assert main(["cache", "list"]) == 0

    lines = told().splitlines()
    (tiny,) = [line.split("  ") for line in lines if line.startswith("s3://models/tiny")]
    cells = [cell.strip() for cell in tiny if cell.strip()]
    assert cells == [
        "s3://models/tiny", "MODEL_AND_TOKENIZER", "2", "300.0 kB", "-", "sha256", "3 d", "now", str(path),
    ]  # fmt: skip
    (large,) = [line for line in lines if line.startswith("s3://models/large")]
    assert " nothing " in large
    assert " 4.2 MB " in large


def test_list_for_programs_is_json(told: Told, caches: Path) -> None:
    path = fetch("tiny")

    assert main(["cache", "list", "--json"]) == 0

    said = json.loads(told())
    (model,) = said["models"]
    assert said["caches"]["eventinit"] == str(caches)
    assert model.pop("fetched_at") == pytest.approx(model.pop("used_at"), abs=60)
    assert model == {
        "root": "eventinit",
        "source": "s3://models/tiny",
        "path": str(path),
        "complete_modes": [{"mode": "MODEL_AND_TOKENIZER", "include": [], "exclude": []}],
        "files": 2,
        "bytes": TOTAL,
        "partial_bytes": 0,
        "verified_by": {"sha256": 2},
    }


def test_verify_of_an_empty_cache_says_that_it_is_empty(told: Told, caches: Path) -> None:
    assert main(["cache", "verify"]) == 0

    assert f"no models in the cache of eventinit, {caches}" in told()


def test_verify_says_what_was_compared(told: Told) -> None:
    fetch("tiny")

    assert main(["cache", "verify"]) == 0

    assert "all right: 2 by sha256" in told()


def test_verify_names_each_damaged_file_and_fails(told: Told) -> None:
    path, _ = fetch("tiny"), fetch("other")
    (path / "model.bin").write_bytes(b"?" * 300_000)
    (path / "config.json").unlink()

    assert main(["cache", "verify"]) == 1
    text = told()
    assert "model.bin has the sha256" in text
    assert "config.json is missing" in text
    assert "--repair" in text
    assert (path / "model.bin").exists()

    assert main(["cache", "verify", "s3://models/other"]) == 0
    assert main(["cache", "verify", str(path), "--repair"]) == 1
    assert not (path / "model.bin").exists()
    fetch("tiny")
    assert main(["cache", "verify", "s3://models/tiny"]) == 0


def test_verify_shows_how_far_it_is_with_a_large_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventinit.cli.cache.PROGRESS_BYTES", 1000)
    monkeypatch.setattr("eventinit.cli.cache._PROGRESS_INTERVAL_S", 0.0)
    fetch("tiny")

    main(["cache", "verify"])

    assert "s3://models/tiny: 300.0 kB of 300.0 kB read" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["verify", "s3://models/tini"], ["prune", "--source", "s3://models/tini"]])
def test_an_unknown_source_gets_the_nearest_known_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = fetch("tiny")

    assert main(["cache", *words]) == 1

    assert "did you mean 's3://models/tiny'?" in capsys.readouterr().err
    assert path.exists()


def test_an_unknown_source_in_an_empty_cache_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "verify", "s3://models/tiny"]) == 1
    assert "the cache is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--all", "--source", "s3://models/tiny"], "--all: stands for every model"),
        (["--all", "--older-than", "1"], "--all: stands for every model"),
        (["--older-than", "-1"], "--older-than: takes a number of days from 0 on, not -1"),
        (["--older-than", "nan"], "--older-than: takes a number of days from 0 on, not nan"),
    ],
)
def test_words_that_contradict_each_other_remove_nothing(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch("tiny")

    assert main(["cache", "prune", *words]) == 1

    assert problem in capsys.readouterr().err
    assert path.exists()


def test_prune_alone_says_which_words_there_are_and_removes_nothing(told: Told) -> None:
    path = fetch("tiny")

    assert main(["cache", "prune"]) == 0

    text = told()
    for part in ("Nothing was removed", "--partials", "--older-than", "--source", "--all", "--dry-run", "300.0 kB"):
        assert part in text
    assert path.exists()


def test_prune_removes_what_was_not_used_for_long(told: Told) -> None:
    old, new = fetch("old", days_ago=31), fetch("new", days_ago=2)

    assert main(["cache", "prune", "--older-than", "30"]) == 0

    assert not old.exists()
    assert new.exists()
    text = told()
    assert "removed s3://models/old: 30" in text
    assert "new" not in text


def test_prune_removes_the_named_models_only() -> None:
    one, two, three = fetch("one"), fetch("two"), fetch("three")

    assert main(["cache", "prune", "--source", "s3://models/one", "--source", str(two)]) == 0

    assert (one.exists(), two.exists(), three.exists()) == (False, False, True)


def test_both_conditions_have_to_hold() -> None:
    one, two = fetch("one", days_ago=5), fetch("two")

    main(["cache", "prune", "--source", "s3://models/two", "--older-than", "3"])

    assert one.exists()
    assert two.exists()


def test_prune_all_tells_the_bytes_and_a_dry_run_the_same_without_removing(told: Told) -> None:
    paths = [fetch("one"), fetch("two")]

    assert main(["cache", "prune", "--all", "--dry-run"]) == 0
    would = told()
    assert all(path.exists() for path in paths)
    assert main(["cache", "prune", "--all"]) == 0
    done = told()

    assert not any(path.exists() for path in paths)
    assert would.replace("would remove", "removed") == done
    freed = int(done.rpartition("(")[2].split()[0])
    assert 2 * TOTAL <= freed < 2 * TOTAL + 20_000


def test_prune_partials_leaves_complete_files(told: Told) -> None:
    path = fetch("tiny")
    leave_unfinished("large")

    assert main(["cache", "prune", "--partials"]) == 0

    assert "removed partial files of s3://models/large: 4.2 MB" in told()
    assert (path / "model.bin").exists()
    main(["cache", "list"])
    assert "4.2 MB" not in told()


def test_what_somebody_is_fetching_is_kept_and_told(told: Told) -> None:
    path = fetch("tiny")
    somebody = FileLocks(path / ".eventinit" / "locks")

    assert main(["cache", "prune", "--all"]) == 0

    somebody.close()
    assert "kept s3://models/tiny: it is in use by a running fetch" in told()
    assert path.exists()
