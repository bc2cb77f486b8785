"""Disks that are full or refuse, and names that no disk should get."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

import pytest

from eventinit.downloads.cache import safe_paths
from eventinit.downloads.store_source import StoreSource
from eventinit.errors import DiskFullError, DownloadError, UnsafeKeyError
from tests.downloads.conftest import contents
from tests.downloads.scripted_store import MODEL, ScriptedStore, content, ignore

TOTAL = sum(map(len, MODEL.values()))


@pytest.fixture
def small_disk(tmp_path: Path, cache: Path) -> Iterator[Path]:
    """A disk of its own for the cache, of 24 MiB: mounted where that is allowed."""
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(cache)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield cache
    subprocess.run(["umount", str(cache)], check=True)


def _little(_: Path) -> int:
    return 1000


def _unchecked(*_: object) -> None:
    pass


@pytest.mark.asyncio
async def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventinit.downloads.disk_space.free_space", _little)
    store = ScriptedStore(MODEL)

    with pytest.raises(DiskFullError, match=r"0\.05 GB are to be fetched .* 0\.00 GB free; free some space") as caught:
        await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert (caught.value.needed_bytes, caught.value.free_bytes) == (TOTAL, 1000)
    assert store.requests == []


@pytest.mark.asyncio
async def test_a_disk_that_fills_up_meanwhile_is_told_as_such(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventinit.downloads.store_source.require_space", _unchecked)

    with pytest.raises(DiskFullError, match="EVENTINIT_CACHE"):
        await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)

    (folder,) = (small_disk / "memory").iterdir()
    assert "model.safetensors" not in contents(folder)


@pytest.mark.asyncio
async def test_a_disk_that_refuses_a_write_is_told_as_such(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing can be mounted: the kernel's answer is put in its place."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(DiskFullError):
        await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)


@pytest.fixture
def no_folder(cache: Path) -> None:
    cache.write_text("")


@pytest.mark.asyncio
@pytest.mark.usefixtures("no_folder")
async def test_a_cache_that_is_no_folder_names_its_setting() -> None:
    with pytest.raises(DownloadError, match="set EVENTINIT_CACHE to another folder"):
        await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)


@pytest.mark.asyncio
async def test_a_folder_that_lies_in_the_way_of_a_file_is_an_error(cache: Path) -> None:
    path = (await StoreSource([ScriptedStore({"a": b"1"})]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    (path / "b").mkdir()

    with pytest.raises(DownloadError, match="cannot write to"):
        await StoreSource([ScriptedStore({"a": b"1", "b": b"2"})]).fetch("MODEL_AND_TOKENIZER", ignore)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "names",
    [["../x"], ["Model.bin", "model.bin"], [normalize("NFC", "é"), normalize("NFD", "é")], [".EventInit/x"], ["/x"]],
    ids=["up", "case", "form", "ours", "absolute"],
)
async def test_names_that_no_disk_should_get_are_refused_before_anything_is_written(
    names: list[str], cache: Path
) -> None:
    store = ScriptedStore({"config.json": b"{}", **dict.fromkeys(names, b"x")})

    with pytest.raises(UnsafeKeyError, match="rename"):
        await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert store.requests == []
    assert contents(cache) == {}


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [10, 5_000_000], ids=["small", "large"])
async def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(
    size: int, cache: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    store = ScriptedStore({"a": content(1, size)})
    path = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    (path / "a").unlink()
    (path / "a").symlink_to(victim)

    await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert victim.read_text() == "mine"
    assert (path / "a").read_bytes() == content(1, size)


def test_a_link_on_the_way_to_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "away").symlink_to(tmp_path)

    with pytest.raises(UnsafeKeyError, match="symbolic link"):
        safe_paths("memory://model", tmp_path / "folder", ["config.json", "away/x"])
