"""Fetching from a Hub on this machine, through huggingface_hub."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from eventinit.downloads.hub import HubSource
from eventinit.errors import AccessDeniedError, DownloadError, ModelNotFoundError, StoreUnavailableError
from eventinit.ports import DownloadMode, DownloadSettings, FetchProgress
from tests.downloads.conftest import Reports
from tests.downloads.hub.trials import MODEL, TOKENIZER, files, ignore
from tests.servers.hub import COMMIT, HubState

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

SETTINGS = DownloadSettings(stall_timeout_s=5.0, attempts=2)

Source = Callable[[str], HubSource]

NO_WEIGHTS = {name for name in MODEL if not name.endswith(".safetensors")}
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def source(hub: HubState, tmp_path: Path) -> Source:
    """Open a repository of the local Hub, with a cache of the test's own."""

    def open_repository(text: str = "org/name") -> HubSource:
        repository, _, revision = text.partition("@")
        return HubSource(repository, revision or None, SETTINGS, endpoint=hub.endpoint, cache_dir=tmp_path / "hub")

    return open_repository


@pytest.mark.parametrize(
    ("mode", "names"),
    [("TOKENIZER_ONLY", TOKENIZER), ("EXCLUDE_SAFETENSORS", NO_WEIGHTS), ("MODEL_AND_TOKENIZER", set(MODEL))],
)
async def test_each_mode_brings_its_files_byte_for_byte(
    source: Source, mode: DownloadMode, names: set[str], reports: Reports
) -> None:
    result = await source("org/name").fetch(mode, reports.append)

    expected = {name: MODEL[name] for name in names}
    total = sum(map(len, expected.values()))
    assert files(result.path) == expected
    assert (result.files, result.bytes_total, result.bytes_fetched) == (len(names), total, total)
    assert reports[0] == FetchProgress(0, total, 0, len(names))
    assert reports[-1] == FetchProgress(total, total, len(names), len(names))
    assert reports.is_monotonic()


async def test_what_the_cache_holds_needs_no_server(source: Source, tmp_path: Path, reports: Reports) -> None:
    first = await source("org/name").fetch("MODEL_AND_TOKENIZER", ignore)
    offline = HubSource("org/name", endpoint=DEAD, cache_dir=tmp_path / "hub")

    second = await offline.fetch("MODEL_AND_TOKENIZER", reports.append)

    assert (second.path, second.bytes_total, second.bytes_fetched) == (first.path, first.bytes_total, 0)
    assert reports == [FetchProgress(first.bytes_total, first.bytes_total, len(MODEL), len(MODEL))]


async def test_a_cache_hit_asks_only_which_commit_a_branch_is(source: Source, hub: HubState) -> None:
    await source("org/name").fetch("MODEL_AND_TOKENIZER", ignore)
    hub.requests.clear()

    await source("org/name").fetch("MODEL_AND_TOKENIZER", ignore)

    assert hub.requests == ["GET /api/models/org/name/revision/main"]


async def test_a_commit_in_the_cache_asks_the_server_nothing(source: Source, hub: HubState) -> None:
    await source(f"org/name@{COMMIT}").fetch("MODEL_AND_TOKENIZER", ignore)
    hub.requests.clear()

    await source(f"org/name@{COMMIT}").fetch("MODEL_AND_TOKENIZER", ignore)

    assert hub.requests == []


async def test_what_huggingface_hub_has_cached_is_found_and_the_other_way_round(
    source: Source, hub: HubState, tmp_path: Path
) -> None:
    def by_huggingface_hub(**how: Any) -> Path:
        hub_library: Any = importlib.import_module("huggingface_hub")
        path = hub_library.snapshot_download("org/name", endpoint=hub.endpoint, cache_dir=tmp_path / "hub", **how)
        return Path(path)

    theirs = await anyio.to_thread.run_sync(lambda: by_huggingface_hub(allow_patterns=["*.json"]))
    hub.served.clear()
    ours = await source("org/name").fetch("MODEL_AND_TOKENIZER", ignore)
    again = await anyio.to_thread.run_sync(lambda: by_huggingface_hub(local_files_only=True))

    assert ours.path == theirs == again
    assert set(hub.served) == set(MODEL) - {"config.json", "tokenizer.json", "empty.txt"}
    assert files(again) == MODEL


async def test_a_part_of_a_snapshot_is_not_taken_for_the_whole(source: Source, hub: HubState, tmp_path: Path) -> None:
    """Other programs leave single files in the cache, with no listing that tells what is missing."""
    path = (await source("org/name").fetch("MODEL_AND_TOKENIZER", ignore)).path
    (path / "config.json").unlink()
    shutil.rmtree(tmp_path / "hub" / "models--org--name" / "trees")
    elsewhere = (tmp_path / "hub").rename(tmp_path / "moved")  # huggingface_hub remembers listings by path

    result = await HubSource("org/name", endpoint=hub.endpoint, cache_dir=elsewhere).fetch(
        "MODEL_AND_TOKENIZER", ignore
    )

    assert files(result.path) == MODEL


async def test_a_smaller_mode_in_the_cache_is_no_hit_for_a_larger(
    source: Source, hub: HubState, reports: Reports
) -> None:
    small = await source("org/name").fetch("EXCLUDE_SAFETENSORS", ignore)
    hub.served.clear()

    large = await source("org/name").fetch("MODEL_AND_TOKENIZER", reports.append)

    assert files(large.path) == MODEL
    assert set(hub.served) == set(MODEL) - NO_WEIGHTS
    assert large.bytes_fetched == large.bytes_total - small.bytes_total
    assert reports[0] == FetchProgress(small.bytes_total, large.bytes_total, small.files, large.files)
    assert reports.is_monotonic()


async def test_a_revision_is_fetched_by_its_name(source: Source) -> None:
    result = await source(f"org/name@{COMMIT}").fetch("TOKENIZER_ONLY", ignore)

    assert result.path.name == COMMIT
    assert result.source == f"org/name@{COMMIT}"


async def test_the_mode_none_asks_nobody(source: Source, hub: HubState) -> None:
    result = await source("org/name").fetch("NONE", ignore)

    assert (result.files, hub.requests) == (0, [])


@pytest.mark.parametrize(
    ("text", "refusal", "kind", "problem"),
    [
        ("org/absent", None, ModelNotFoundError, r"no such model; .*a folder is written ./org/absent.*set HF_TOKEN"),
        ("org/name@v9", None, ModelNotFoundError, "has no such revision"),
        ("org/gated", (403, "GatedRepo"), AccessDeniedError, "is gated; ask for access.*HF_TOKEN"),
        ("org/closed", (403, ""), AccessDeniedError, "refused the model .403.*HF_TOKEN"),
        ("org/broken", (500, ""), StoreUnavailableError, "answered 500"),
    ],
)
async def test_a_refusal_is_a_typed_error_with_its_remedy(
    source: Source,
    hub: HubState,
    *,
    text: str,
    refusal: tuple[int, str] | None,
    kind: type[DownloadError],
    problem: str,
) -> None:
    if refusal:
        hub.refusals[text] = refusal

    with pytest.raises(kind, match=problem) as caught:
        await source(text).fetch("MODEL_AND_TOKENIZER", ignore)

    assert caught.value.source == text
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("endpoint", [DEAD, "http://hub.invalid"], ids=["no server", "no such name"])
async def test_a_hub_that_is_down_is_an_error_that_names_the_settings(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(StoreUnavailableError, match=r"cannot be reached.*HF_ENDPOINT.*HF_HUB_OFFLINE"):
        await HubSource("org/name", endpoint=endpoint, cache_dir=tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)


_PROGRAM = """
import asyncio, json, sys
from eventinit.downloads import open_source
from eventinit.errors import EventInitError
try:
    result = asyncio.run(open_source("org/name").fetch("MODEL_AND_TOKENIZER", lambda progress: None))
    print(json.dumps({"path": str(result.path), "fetched": result.bytes_fetched}))
except EventInitError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
assert "vllm" not in sys.modules
"""


def run_program(tmp_path: Path, endpoint: str, **settings: str) -> dict[str, Any]:
    """Fetch in a process of its own: huggingface_hub reads its variables once, at import."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env = inherited | {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": endpoint} | settings
    done = subprocess.run([sys.executable, "-c", _PROGRAM], env=env, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_the_environment_says_which_hub_and_which_cache(hub: HubState, tmp_path: Path) -> None:
    first = await anyio.to_thread.run_sync(run_program, tmp_path, hub.endpoint)
    second = await anyio.to_thread.run_sync(lambda: run_program(tmp_path, DEAD, HF_HUB_OFFLINE="1"))

    assert files(Path(first["path"])) == MODEL
    assert Path(first["path"]).is_relative_to(tmp_path / "home")
    assert (second["path"], second["fetched"]) == (first["path"], 0)


async def test_offline_mode_without_the_model_names_its_setting(tmp_path: Path) -> None:
    answer = await anyio.to_thread.run_sync(lambda: run_program(tmp_path, DEAD, HF_HUB_OFFLINE="1"))

    assert answer["error"] == "StoreUnavailableError"
    assert "HF_HUB_OFFLINE is set; unset it" in answer["message"]
