"""Which commit is fetched, and what the Hub is told."""

import logging
from pathlib import Path

import pytest

from eventinit.downloads.hub import HubSource
from eventinit.errors import AccessDeniedError, StoreUnavailableError
from eventinit.ports import DownloadSettings, FetchProgress
from tests.downloads.hub.trials import children, files, ignore, open_hub, weights
from tests.servers.hub import COMMIT, Fault, HubState

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

OLD = {"config.json": b"old", "model.safetensors": weights(1000)}
NEW = {"config.json": b"new", "model.safetensors": weights(1000)}
LATER = "f" * 40
DEAD = "http://127.0.0.1:9"
TOKEN = "hf_NeverToBeSeenAnywhere"


@pytest.fixture(autouse=True)
def model(hub: HubState) -> None:
    hub.models["org/name"] = OLD
    hub.commits["org/name", LATER] = NEW


def dead(cache: Path, settings: DownloadSettings | None = None) -> HubSource:
    return HubSource("org/name", None, settings or DownloadSettings(attempts=1), endpoint=DEAD, cache_dir=cache)


async def test_the_result_names_the_commit(hub: HubState, tmp_path: Path) -> None:
    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.source == f"org/name@{COMMIT}"
    assert (tmp_path / "models--org--name" / "refs" / "main").read_text() == COMMIT


async def test_a_branch_that_has_moved_is_fetched_anew(hub: HubState, tmp_path: Path) -> None:
    old = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    hub.heads["org/name"] = LATER

    new = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert new.source == f"org/name@{LATER}"
    assert (files(old.path), files(new.path)) == (OLD, NEW)


async def test_a_branch_that_moves_meanwhile_mixes_no_files(hub: HubState, tmp_path: Path) -> None:
    def move(_: FetchProgress) -> None:
        hub.heads["org/name"] = LATER

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", move)

    assert result.source == f"org/name@{COMMIT}"
    assert files(result.path) == OLD


async def test_a_hub_out_of_reach_lets_the_last_complete_commit_be_used_with_a_warning(
    hub: HubState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    hub.heads["org/name"] = LATER
    hub.faults["model.safetensors"] = [Fault("refuse", 403)]
    with pytest.raises(AccessDeniedError):
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    with caplog.at_level(logging.WARNING, "eventinit"):
        result = await dead(tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert (result.source, files(result.path)) == (f"org/name@{COMMIT}", OLD)
    assert "hub_not_asked" in caplog.text


async def test_a_hub_out_of_reach_is_an_error_when_the_mode_is_not_complete(hub: HubState, tmp_path: Path) -> None:
    await open_hub(hub, tmp_path).fetch("TOKENIZER_ONLY", ignore)

    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await dead(tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)


async def test_offline_nobody_is_asked(hub: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await open_hub(hub, tmp_path).fetch("TOKENIZER_ONLY", ignore)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    result = await open_hub(hub, tmp_path).fetch("TOKENIZER_ONLY", ignore)
    with pytest.raises(StoreUnavailableError, match="HF_HUB_OFFLINE is set; unset it"):
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.files == 1
    assert hub.requests == []


async def test_offline_what_is_there_can_be_verified(
    hub: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    result = await open_hub(hub, tmp_path, settings=DownloadSettings(verify="full")).fetch(
        "MODEL_AND_TOKENIZER", ignore
    )

    assert (result.files, hub.requests) == (2, [])


async def test_globs_choose_among_the_files_of_a_mode(hub: HubState, tmp_path: Path) -> None:
    hub.models["org/name"] = {"config.json": b"{}", "a.bin": b"a", "b.bin": b"b", "c.txt": b"c"}
    chosen = DownloadSettings(include=("*.json", "*.bin"), exclude=("b*",))

    result = await open_hub(hub, tmp_path, settings=chosen).fetch("MODEL_AND_TOKENIZER", ignore)

    assert set(files(result.path)) == {"config.json", "a.bin"}
    assert result.files == 2


async def test_a_limit_of_bytes_per_second_is_kept(hub: HubState, tmp_path: Path) -> None:
    hub.models["org/name"] = {"a.safetensors": weights(2_000_000), "b.safetensors": weights(2_000_000)}
    limited = DownloadSettings(max_bandwidth=2_000_000)

    result = await open_hub(hub, tmp_path, settings=limited).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.seconds > 1.5


async def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.faults["model.safetensors"] = [Fault("refuse", 403)]
    commands: list[str] = []

    def look(_: FetchProgress) -> None:
        commands.extend(" ".join(child.cmdline()) for child in children())

    with caplog.at_level(logging.DEBUG), pytest.raises(AccessDeniedError) as caught:
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", look)

    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert commands
    assert TOKEN not in "".join(commands) + caplog.text + str(caught.value) + str(caught.value.__cause__)


async def test_no_process_is_started_for_what_is_there(
    hub: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.bytes_fetched == 0
    assert children() == []
