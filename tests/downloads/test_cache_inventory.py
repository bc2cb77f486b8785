"""What the cache tells of its models after real fetches, what a check finds, and what a removal leaves alone."""

import os
import time
from pathlib import Path

import anyio
import pytest

from eventinit.downloads.cache_check import CheckedModel, check_model
from eventinit.downloads.cache_inventory import inventory
from eventinit.downloads.cache_prune import remove_leftovers, remove_model, remove_partials
from eventinit.downloads.cached_model import CachedModel
from eventinit.downloads.file_lock import FileLocks
from eventinit.downloads.hub import HubSource
from eventinit.downloads.store_source import StoreSource
from eventinit.errors import DownloadError
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings
from tests.downloads.children import until
from tests.downloads.conftest import contents
from tests.downloads.scripted_store import MIB, MODEL, Fault, ScriptedStore, content, cut, ignore, weights
from tests.servers.hub import COMMIT, hub_server

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("cache", "hub_cache")]

TOTAL = sum(map(len, MODEL.values()))


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, where the inventory looks for it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


async def fetch(
    store: ScriptedStore, mode: DownloadMode = "MODEL_AND_TOKENIZER", settings: DownloadSettings | None = None
) -> DownloadResult:
    return await StoreSource([store], settings or DownloadSettings()).fetch(mode, ignore)


async def leave_unfinished(store: ScriptedStore) -> None:
    """Fetch until the large file is cut off after 20 MiB."""
    store.script = lambda r: cut(after=max(0, 20 * MIB - r.start)) if r.name == "model.safetensors" else None
    with pytest.raises(DownloadError):
        await fetch(store, settings=DownloadSettings(attempts=1, max_concurrency=1))


def only_model() -> CachedModel:
    (model,) = inventory()
    return model


def check(model: CachedModel, *, repair: bool = False) -> CheckedModel:
    return check_model(model, repair=repair, hashed=lambda _: None)


async def test_a_fetched_model_is_told_with_source_modes_size_and_verification() -> None:
    before = time.time() - 1
    result = await fetch(ScriptedStore(MODEL, algorithm="md5"))

    model = only_model()

    assert (model.root, model.source, model.folder) == ("eventinit", "memory://model", result.path)
    assert [mode.mode for mode in model.modes] == ["MODEL_AND_TOKENIZER"]
    assert (len(model.files), model.size, model.partial_bytes) == (len(MODEL), TOTAL, 0)
    assert model.verified == {"md5": len(MODEL)}
    assert model.fetched_at is not None
    assert before < model.fetched_at <= time.time()
    assert before < model.used_at <= time.time()


async def test_a_fetch_that_finds_everything_there_makes_the_model_used_and_not_fetched_anew() -> None:
    path = (await fetch(ScriptedStore(MODEL))).path
    fetched_at = only_model().fetched_at
    os.utime(path / ".eventinit" / "manifest.jsonl", (1000, 1000))
    assert only_model().used_at == 1000

    assert (await fetch(ScriptedStore(MODEL))).bytes_fetched == 0

    model = only_model()
    assert model.used_at > 1000
    assert model.fetched_at == fetched_at


async def test_a_mode_whose_files_are_not_all_there_is_not_complete() -> None:
    await fetch(ScriptedStore(MODEL), "EXCLUDE_SAFETENSORS")
    path = (await fetch(ScriptedStore(MODEL))).path
    (path / "model.safetensors").unlink()

    model = only_model()

    assert [mode.mode for mode in model.modes] == ["EXCLUDE_SAFETENSORS"]
    assert model.size == TOTAL - len(MODEL["model.safetensors"])


async def test_what_an_unfinished_download_has_left_is_counted_and_named_by_its_source() -> None:
    store = ScriptedStore(MODEL)
    await leave_unfinished(store)

    model = only_model()

    assert (model.source, model.modes, model.fetched_at) == ("memory://model", (), None)
    assert 16 * MIB <= model.partial_bytes <= 20 * MIB
    store.script = lambda _: None
    assert (await fetch(store)).bytes_fetched <= TOTAL - model.partial_bytes


async def test_looking_writes_nothing_not_even_a_lock(cache: Path) -> None:
    path = (await fetch(ScriptedStore(MODEL))).path
    (path / ".eventinit" / "locks").unlink()

    assert only_model().files

    assert not (path / ".eventinit" / "locks").exists()


async def test_damage_and_absence_are_found_and_nothing_is_removed() -> None:
    path = (await fetch(ScriptedStore(MODEL, algorithm="sha256"))).path
    flip(path / "medium.bin", 7)
    (path / "config.json").unlink()

    checked = check(only_model())

    assert set(checked.damaged) == {"medium.bin", "config.json"}
    assert checked.damaged["config.json"] == "is missing"
    assert "instead of" in checked.damaged["medium.bin"]
    assert (path / "medium.bin").exists()
    assert checked.compared == {"sha256": len(MODEL)}


async def test_a_repaired_file_and_no_other_is_fetched_again_by_the_next_start() -> None:
    store = ScriptedStore(MODEL, algorithm="sha256")
    path = (await fetch(store)).path
    there = (path / "medium.bin").stat()
    flip(path / "medium.bin", 7)
    os.utime(path / "medium.bin", ns=(there.st_atime_ns, there.st_mtime_ns))
    assert (await fetch(store)).bytes_fetched == 0, "by size and time it looks as it was"

    assert set(check(only_model(), repair=True).damaged) == {"medium.bin"}
    assert {file.name for file in only_model().files} == MODEL.keys() - {"medium.bin"}

    assert (await fetch(store)).bytes_fetched == len(MODEL["medium.bin"])
    assert contents(path) == MODEL
    assert check(only_model()).damaged == {}


async def test_files_that_the_store_had_no_checksum_of_say_what_they_are_compared_by() -> None:
    """Small ones by a checksum of our own; large ones by size and time, and weights by their header too."""
    path = (await fetch(ScriptedStore(MODEL))).path
    assert check(only_model()).damaged == {}
    with (path / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * 8)
    flip(path / "nested" / "deep" / "notes.txt", 3)

    checked = check(only_model())

    assert set(checked.damaged) == {"model.safetensors", "nested/deep/notes.txt"}
    assert set(checked.compared) == {"size", "sha256 computed when it was fetched"}


async def test_a_file_without_any_checksum_that_was_changed_since_is_damaged() -> None:
    path = (await fetch(ScriptedStore(MODEL))).path
    flip(path / "model.safetensors", 1000)

    assert "was changed after it was fetched" in check(only_model()).damaged["model.safetensors"]


async def test_a_damaged_file_that_is_being_fetched_is_not_called_damaged() -> None:
    path = (await fetch(ScriptedStore(MODEL, algorithm="sha256"))).path
    flip(path / "medium.bin", 7)
    locks = FileLocks(path / ".eventinit" / "locks")
    assert locks.try_acquire("medium.bin")

    checked = check(only_model(), repair=True)

    locks.close()
    assert (checked.damaged, checked.busy) == ({}, ("medium.bin",))
    assert (path / "medium.bin").exists()


async def test_a_removed_model_is_gone_and_can_be_fetched_again(cache: Path) -> None:
    store = ScriptedStore(MODEL)
    await fetch(store)

    removal = remove_model(only_model())

    assert removal.kept_because is None
    assert removal.freed_bytes >= TOTAL
    assert inventory() == [] == list((cache / "memory").iterdir())
    assert contents((await fetch(store)).path) == MODEL


async def test_a_model_that_is_being_fetched_is_kept_and_the_fetch_goes_on() -> None:
    """Also while it holds no file's lock, as before the first and after the last."""
    stalled = ScriptedStore(MODEL, script=lambda r: Fault(stall=True) if r.name == "model.safetensors" else None)
    results: list[DownloadResult] = []

    async def run(store: ScriptedStore) -> None:
        results.append(await fetch(store))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, stalled)
        await until(lambda: stalled.counts["model.safetensors"] > 0)
        for remove in (remove_model, remove_partials):
            removal = remove(only_model())
            assert (removal.freed_bytes, removal.kept_because) == (0, "it is in use by a running fetch")
        tasks.cancel_scope.cancel()
    assert remove_model(only_model()).freed_bytes > 0


async def test_whoever_opens_a_folder_while_it_is_removed_gets_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "model" / "locks"
    remover = FileLocks(path)
    assert remover.try_alone()
    opened: list[FileLocks] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, lambda: opened.append(FileLocks(path)))
        await anyio.sleep(0.1)
        assert opened == [], "it waits until the folder is out of the way"
        path.parent.rename(tmp_path / "aside")
        remover.close()

    other = FileLocks(path)
    assert not other.try_alone(), "both have the folder that lies there now"
    opened[0].close()
    assert other.try_alone()
    other.close()


async def test_what_a_killed_removal_has_left_goes_with_the_next_one(cache: Path) -> None:
    path = (await fetch(ScriptedStore(MODEL))).path
    path.rename(path.with_name(".removed-x"))

    assert inventory() == []
    assert remove_leftovers(dry_run=True) >= TOTAL
    assert remove_leftovers() >= TOTAL
    assert list((cache / "memory").iterdir()) == []


async def test_partials_go_and_complete_files_stay() -> None:
    store = ScriptedStore(MODEL)
    await leave_unfinished(store)
    left = only_model()

    removal = remove_partials(left)

    assert removal.freed_bytes >= left.partial_bytes
    assert only_model().partial_bytes == 0
    assert contents(left.folder) == {name: MODEL[name] for name in contents(left.folder)}
    assert contents(left.folder)


async def test_a_model_keeps_its_source_when_what_was_unfinished_goes() -> None:
    await leave_unfinished(ScriptedStore(MODEL))

    remove_partials(only_model())

    assert only_model().source == "memory://model"


async def test_a_fetch_that_begins_and_never_ends_makes_the_model_used() -> None:
    store = ScriptedStore(MODEL)
    await leave_unfinished(store)
    os.utime(only_model().folder / ".eventinit" / "manifest.jsonl", (1000, 1000))

    await leave_unfinished(store)

    assert only_model().used_at > 1000


async def test_a_folder_with_nothing_but_partials_goes_with_them() -> None:
    store = ScriptedStore({"model.safetensors": MODEL["model.safetensors"]})
    await leave_unfinished(store)

    remove_partials(only_model())

    assert inventory() == []


async def test_a_dry_run_says_how_much_and_removes_nothing() -> None:
    await fetch(ScriptedStore(MODEL))

    assert remove_model(only_model(), dry_run=True).freed_bytes >= TOTAL

    assert contents(only_model().folder) == MODEL


async def test_what_is_not_ours_is_neither_told_nor_touched(cache: Path, tmp_path: Path) -> None:
    """A folder of somebody else, a link to a model elsewhere, and what a link in a model leads to."""
    path = (await fetch(ScriptedStore(MODEL))).path
    (cache / "memory" / "notes").mkdir()
    (cache / "memory" / "notes" / "mine.txt").write_text("mine")
    path.rename(tmp_path / "elsewhere")
    (cache / "memory" / "linked").symlink_to(tmp_path / "elsewhere")
    (cache / "s3").symlink_to(tmp_path)
    ours = (await fetch(ScriptedStore({"a": content(1, 10)}))).path
    (ours / "away").symlink_to(tmp_path / "elsewhere")

    remove_model(only_model())

    assert not ours.exists()
    assert (cache / "memory" / "notes" / "mine.txt").read_text() == "mine"
    assert contents(tmp_path / "elsewhere") == MODEL


async def test_a_record_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    path = (await fetch(ScriptedStore(MODEL, algorithm="md5"))).path
    victim = path.parent / "victim"
    victim.write_text("mine")
    manifest = path / ".eventinit" / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"config.json"', '"../victim"'))

    check(only_model(), repair=True)

    assert victim.read_text() == "mine"


@pytest.mark.real
async def test_a_model_of_the_hub_is_told_checked_and_repaired_and_left_to_the_hub(hub_cache: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": weights(1, 100)}
    with hub_server() as hub:
        hub.models["org/name"] = files
        source = HubSource("org/name", endpoint=hub.endpoint, cache_dir=hub_cache)
        path = (await source.fetch("MODEL_AND_TOKENIZER", ignore)).path
        model = only_model()
        assert (model.root, model.source, model.folder) == ("hub", f"org/name@{COMMIT}", path)
        assert model.is_called("org/name")
        assert (model.size, model.verified) == (sum(map(len, files.values())), {"git id": 1, "sha256": 1})
        assert check(model).damaged == {}
        flip(path / "model.safetensors", 80)

        assert set(check(model, repair=True).damaged) == {"model.safetensors"}

        again = await source.fetch("MODEL_AND_TOKENIZER", ignore)
        assert again.bytes_fetched == len(files["model.safetensors"])
        assert check(only_model()).damaged == {}
    kept = remove_model(only_model()).kept_because
    assert kept is not None
    assert kept.endswith("hf cache rm model/org/name")
    assert (path / "config.json").exists()


@pytest.mark.real
async def test_a_model_that_others_brought_into_the_hubs_cache_is_not_told(hub_cache: Path) -> None:
    with hub_server() as hub:
        hub.models["org/name"] = {"config.json": b"{}"}
        source = HubSource("org/name", endpoint=hub.endpoint, cache_dir=hub_cache)
        path = (await source.fetch("MODEL_AND_TOKENIZER", ignore)).path
        ours = path.parents[1] / ".eventinit"
        for file in ours.iterdir():
            file.unlink()
        ours.rmdir()

        assert (await source.fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0

    assert not ours.exists()
    assert inventory() == []


def flip(path: Path, at: int) -> None:
    """Change one byte of a file and leave its size."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
