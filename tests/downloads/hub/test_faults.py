"""A Hub that misbehaves: each fault ends in the exact bytes or a typed error."""

import os
from pathlib import Path

import psutil
import pytest

from eventinit.errors import (
    AccessDeniedError,
    DiskFullError,
    DownloadError,
    IntegrityError,
    ModelNotFoundError,
    StalledError,
    StoreUnavailableError,
    UnsafeKeyError,
)
from eventinit.ports import DownloadSettings, FetchProgress
from tests.downloads.conftest import Reports
from tests.downloads.hub.trials import children, files, ignore, open_hub, weights
from tests.servers.hub import Fault, HubState

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

WEIGHTS = "model.safetensors"
SIZE = 3 * 1024 * 1024 + 7
MODEL = {"config.json": b"{}", "tokenizer.json": b"[]" * 100, WEIGHTS: weights(SIZE)}


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.rglob(pattern))


@pytest.fixture(autouse=True)
def model(hub: HubState) -> None:
    hub.models["org/name"] = MODEL


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("cut", 1), Fault("cut", SIZE // 3), Fault("cut", SIZE // 3)],
        [Fault("stall", SIZE // 2)],
        [Fault("flip", 1000)],
        [Fault("short", 10)],
        [Fault("long", 10)],
        [Fault("refuse", 503, {"Retry-After": "1"})],
        [Fault("refuse", 500)],
    ],
    ids=lambda faults: faults[0].kind,
)
async def test_a_fault_that_passes_ends_in_the_exact_bytes(
    hub: HubState, tmp_path: Path, faults: list[Fault], reports: Reports
) -> None:
    hub.faults[WEIGHTS] = list(faults)

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert files(result.path) == MODEL
    assert hub.faults[WEIGHTS] == []
    assert reports.is_monotonic()
    assert reports[-1] == FetchProgress(result.bytes_total, result.bytes_total, 3, 3)
    assert found(tmp_path, "*.incomplete") == []


async def test_weights_with_a_broken_header_are_refused(hub: HubState, tmp_path: Path) -> None:
    hub.models["org/name"] = {**MODEL, WEIGHTS: b"no header"}

    with pytest.raises(IntegrityError, match="expected a readable safetensors header"):
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)


@pytest.mark.parametrize("kind", ["cut", "stall"])
async def test_what_has_come_is_not_fetched_again(hub: HubState, tmp_path: Path, kind: str) -> None:
    hub.faults[WEIGHTS] = [Fault("cut" if kind == "cut" else "stall", SIZE // 2)]

    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert hub.sent <= 1.15 * sum(map(len, MODEL.values()))


@pytest.mark.parametrize(
    ("fault", "kind", "problem"),
    [
        (Fault("flip", 1000), IntegrityError, "is damaged: expected sha256 "),
        (Fault("long", 10), IntegrityError, f"is damaged: expected {SIZE} bytes, got {SIZE + 10} bytes"),
        (Fault("stall", 0), StalledError, "no byte came for"),
        (Fault("refuse", 403), AccessDeniedError, r"refused the model \(403\)"),
        (Fault("refuse", 404), ModelNotFoundError, "lists a file that it does not have"),
        (Fault("refuse", 503), StoreUnavailableError, "answered 503"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_a_fault_that_stays_is_a_typed_error_and_nothing_damaged_is_shown(
    hub: HubState, tmp_path: Path, fault: Fault, kind: type[DownloadError], problem: str
) -> None:
    hub.faults[WEIGHTS] = [fault] * 20

    with pytest.raises(kind, match=problem):
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert found(tmp_path, WEIGHTS) == []
    assert children() == []


async def test_a_file_that_stalls_is_named_with_the_hub_and_the_time(hub: HubState, tmp_path: Path) -> None:
    hub.faults[WEIGHTS] = [Fault("stall", 0)] * 20

    with pytest.raises(StalledError) as caught:
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert caught.value.file == WEIGHTS
    assert caught.value.mirrors == (hub.endpoint,)
    assert caught.value.silent_s >= 2 * 2.0


async def test_a_process_that_is_killed_is_started_again(hub: HubState, tmp_path: Path) -> None:
    hub.pause_s = 0.02
    killed: list[int] = []

    def kill_once(progress: FetchProgress) -> None:
        if not killed and progress.bytes_done > SIZE // 3:
            killed.extend(child.pid for child in children())
            psutil.Process(killed[0]).kill()

    result = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", kill_once)

    assert killed
    assert files(result.path) == MODEL
    assert hub.sent <= 1.15 * result.bytes_total


async def test_a_process_that_always_dies_is_an_error_that_says_so(hub: HubState, tmp_path: Path) -> None:
    hub.faults["config.json"] = [Fault("stall", 0)] * 20

    def kill(_: FetchProgress) -> None:
        for child in children():
            child.kill()

    with pytest.raises(StoreUnavailableError, match=r"was killed by signal 9; fetch again"):
        await open_hub(hub, tmp_path, settings=DownloadSettings(attempts=1)).fetch("TOKENIZER_ONLY", kill)


async def test_a_model_that_does_not_fit_is_refused_before_a_byte_is_fetched(hub: HubState, tmp_path: Path) -> None:
    hub.sizes[WEIGHTS] = 10**18

    with pytest.raises(DiskFullError, match=r"hf cache rm\), or set HF_HOME") as caught:
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert caught.value.needed_bytes > 10**18
    assert caught.value.free_bytes < 10**18
    assert hub.sent == 0


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../../x"])
async def test_a_name_that_leaves_the_folder_is_refused_before_a_byte_is_fetched(
    hub: HubState, tmp_path: Path, name: str
) -> None:
    hub.models["org/name"] = {**MODEL, name: b"x"}

    with pytest.raises(UnsafeKeyError, match="cannot be a path in the model's folder"):
        await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert hub.sent == 0


async def test_damage_on_disk_is_found_and_mended_when_all_is_verified(hub: HubState, tmp_path: Path) -> None:
    path = (await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)).path
    blob = (path / WEIGHTS).resolve()
    blob.write_bytes(bytes([MODEL[WEIGHTS][0] ^ 1]) + MODEL[WEIGHTS][1:])

    by_size = await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    assert (by_size.bytes_fetched, files(path) == MODEL) == (0, False)

    full = DownloadSettings(verify="full", attempts=2)
    result = await open_hub(hub, tmp_path, settings=full).fetch("MODEL_AND_TOKENIZER", ignore)
    assert (result.bytes_fetched, files(path)) == (SIZE, MODEL)


async def test_verifying_all_of_a_sound_model_fetches_nothing(hub: HubState, tmp_path: Path) -> None:
    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)
    sent = hub.sent

    full = DownloadSettings(verify="full")
    result = await open_hub(hub, tmp_path, settings=full).fetch("MODEL_AND_TOKENIZER", ignore)

    assert (result.bytes_fetched, hub.sent) == (0, sent)


async def test_a_file_that_was_cut_short_on_disk_is_fetched_again(hub: HubState, tmp_path: Path) -> None:
    path = (await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)).path
    os.truncate((path / WEIGHTS).resolve(), 100)

    await open_hub(hub, tmp_path).fetch("MODEL_AND_TOKENIZER", ignore)

    assert files(path) == MODEL
