"""What an earlier fetch has left is used, and nothing that cannot be relied on."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from eventinit.downloads.partial_file import PartialFile, bytes_present, partial_path, read_journal
from eventinit.downloads.remote import RemoteFile
from eventinit.downloads.spans import gaps, length, merged, split
from eventinit.downloads.store_source import StoreSource
from eventinit.ports import DownloadSettings
from tests.conftest import EXCESS
from tests.downloads.children import fetching_child, until
from tests.downloads.conftest import Reports, contents
from tests.downloads.scripted_store import MIB, MODEL, ScriptedStore, content, ignore, weights

pytestmark = pytest.mark.usefixtures("cache")

TOTAL = sum(map(len, MODEL.values()))
LARGE = "model.safetensors"
TRIALS = int(os.environ.get("EVENTINIT_TRIALS", "6"))
"""``make test-exhaustive`` asks for 100."""

FILE = RemoteFile("a.bin", "a.bin", 1000, "v1")


@pytest.fixture
def partial(tmp_path: Path) -> PartialFile:
    return PartialFile(tmp_path, FILE, "boot")


def reopened(folder: Path, file: RemoteFile = FILE, boot: str = "boot") -> list[tuple[int, int]]:
    again = PartialFile(folder, file, boot)
    try:
        return again.missing()
    finally:
        again.close()


def write(partial: PartialFile, start: int, end: int) -> None:
    partial.write(start, memoryview(content(1, end - start)))


@pytest.mark.asyncio
@pytest.mark.real
@pytest.mark.parametrize("trial", range(TRIALS))
async def test_a_killed_process_is_continued_and_little_is_fetched_twice(
    trial: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    ledger = tmp_path / "ledger"
    store = ScriptedStore(MODEL, ledger=ledger)
    kill_at = random.Random(trial).random() * TOTAL
    with fetching_child(ledger, 0.003) as child:
        await until(lambda: store.served_by_all() >= kill_at or child.poll() is not None)

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    record_property(EXCESS, store.served_by_all() / TOTAL - 1)
    assert contents(result.path) == MODEL
    assert store.served_by_all() <= 1.15 * TOTAL
    assert not any((result.path / ".eventinit" / "partial").iterdir())


@pytest.mark.asyncio
@pytest.mark.parametrize("name", MODEL)
async def test_what_a_kill_has_left_beside_a_complete_file_is_removed(name: str) -> None:
    """A process may end after a file has been recorded and before its journal is gone, or between two of its writes."""
    source = StoreSource([ScriptedStore(MODEL)])
    folder = (await source.fetch("MODEL_AND_TOKENIZER", ignore)).path
    path = partial_path(folder, name)
    for left in (path, *map(path.with_suffix, (".journal", ".new", ".whole"))):
        left.write_bytes(b"")

    result = await source.fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.bytes_fetched == 0
    assert not any(path.parent.iterdir())


@pytest.mark.asyncio
@pytest.mark.parametrize("before", [{}, MODEL])
async def test_what_is_left_of_new_weights_stays_when_only_the_tokenizer_is_wanted(before: dict[str, bytes]) -> None:
    """Whether or not there were others before, which are still recorded."""
    if before:
        await StoreSource([ScriptedStore(before)]).fetch("MODEL_AND_TOKENIZER", ignore)
    files = {**MODEL, LARGE: weights(77, 40 * MIB)}
    source = StoreSource([ScriptedStore(files, pace_s=0.003)])
    with anyio.CancelScope() as scope:
        await source.fetch("MODEL_AND_TOKENIZER", lambda p: scope.cancel() if p.bytes_done > TOTAL // 2 else None)
    assert scope.cancelled_caught
    await source.fetch("TOKENIZER_ONLY", ignore)

    result = await source.fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == files
    assert result.bytes_fetched < TOTAL * 0.65


@pytest.mark.asyncio
async def test_what_is_there_counts_as_done_from_the_start(reports: Reports) -> None:
    store = ScriptedStore(MODEL, pace_s=0.003)
    with anyio.CancelScope() as scope:
        await StoreSource([store]).fetch(
            "MODEL_AND_TOKENIZER", lambda p: scope.cancel() if p.bytes_done > TOTAL // 2 else None
        )
    assert scope.cancelled_caught

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert reports[0].bytes_done == TOTAL - result.bytes_fetched > TOTAL // 3
    assert reports.is_monotonic()


@pytest.mark.asyncio
async def test_another_version_in_the_store_begins_anew(cache: Path) -> None:
    files = dict(MODEL)
    store = ScriptedStore(files, pace_s=0.003)
    with anyio.CancelScope() as scope:
        await StoreSource([store]).fetch(
            "MODEL_AND_TOKENIZER", lambda p: scope.cancel() if p.bytes_done > TOTAL // 2 else None
        )
    files[LARGE] = weights(77, 40 * MIB + 7)
    store.served = 0

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == files
    assert store.served >= len(files[LARGE])


def test_after_the_end_of_a_process_everything_written_counts(partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 100)
    write(partial, 500, 600)
    partial.close()

    assert reopened(tmp_path) == [(100, 500), (600, 1000)]
    assert bytes_present(tmp_path, FILE, "boot") == 200


def test_after_a_reboot_only_what_was_synced_counts(
    partial: PartialFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(partial, 0, 100)
    monkeypatch.setattr("eventinit.downloads.partial_file.SYNC_BYTES", 0)
    write(partial, 100, 200)
    monkeypatch.undo()
    write(partial, 300, 400)
    partial.close()

    assert reopened(tmp_path, boot="another boot") == [(200, 1000)]
    assert reopened(tmp_path, boot="a third boot") == [(200, 1000)], "what was synced stays so"


def test_without_a_known_boot_only_what_was_synced_counts(partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 100)
    partial.close()

    assert reopened(tmp_path, boot="") == [(0, 1000)]


@pytest.mark.parametrize(
    "torn", [b'{"span": [200, 3', b'{"span": [200, 300]}', b"\0\0\0\0\0\n", b"[]\n", b"7\n", b"\xff\n"]
)
def test_a_torn_line_of_the_journal_and_what_follows_it_do_not_count(
    torn: bytes, partial: PartialFile, tmp_path: Path
) -> None:
    write(partial, 0, 100)
    partial.close()
    journal = partial_path(tmp_path, FILE.name).with_suffix(".journal")
    journal.write_bytes(journal.read_bytes() + torn)

    assert reopened(tmp_path) == [(100, 1000)]
    assert json.loads(journal.read_bytes().splitlines()[-1]), "the journal is whole again"


@pytest.mark.parametrize(
    "file",
    [
        RemoteFile("a.bin", "a.bin", 1000, "v2"),
        RemoteFile("a.bin", "a.bin", 999, "v1"),
        RemoteFile("a.bin", "", 1000, None),
    ],
    ids=["version", "size", "no version"],
)
def test_a_journal_of_another_content_does_not_count(file: RemoteFile, partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 100)
    partial.close()

    assert bytes_present(tmp_path, file, "boot") == 0
    assert reopened(tmp_path, file) == [(0, file.size)]


def test_bytes_without_a_journal_do_not_count(partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 100)
    partial.close()
    partial_path(tmp_path, FILE.name).with_suffix(".journal").unlink()

    assert reopened(tmp_path) == [(0, 1000)]


def test_a_journal_without_its_bytes_does_not_count(partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 100)
    partial.close()
    partial.path.unlink()

    assert reopened(tmp_path) == [(0, 1000)]


def test_what_the_kernel_takes_in_parts_is_written_whole(partial: PartialFile, monkeypatch: pytest.MonkeyPatch) -> None:
    data, write = content(3, 1000), os.pwrite

    def write_some(file: int, piece: memoryview, at: int) -> int:
        return write(file, piece[:7], at)

    monkeypatch.setattr(os, "pwrite", write_some)
    partial.write(0, memoryview(data))
    partial.close()

    assert partial.path.read_bytes() == data


def test_a_journal_is_read_while_it_is_written(partial: PartialFile, tmp_path: Path) -> None:
    write(partial, 0, 10)

    assert read_journal(partial.path.with_suffix(".journal")).written == [(0, 10)]
    partial.close()


@pytest.mark.asyncio
async def test_a_kill_between_the_name_and_the_manifest_costs_nothing() -> None:
    """The record of the large file is taken out of the manifest; its journal is as the killed process left it."""
    store = ScriptedStore(MODEL)
    path = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    manifest = path / ".eventinit" / "manifest.jsonl"
    lines = manifest.read_text().splitlines()
    (record,) = (json.loads(line)["file"] for line in lines if LARGE in line)
    manifest.write_text("\n".join(line for line in lines if LARGE not in line) + "\n")
    partial_path(path, LARGE).with_suffix(".journal").write_text(json.dumps({"complete": record}) + "\n")
    store.served = 0

    await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert store.served == 0


@pytest.mark.asyncio
async def test_a_torn_line_of_the_manifest_costs_one_file() -> None:
    store = ScriptedStore(MODEL)
    path = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    manifest = path / ".eventinit" / "manifest.jsonl"
    lines = [line for line in manifest.read_text().splitlines() if "medium.bin" not in line]
    manifest.write_text("\n".join(lines) + '\n{"file":{"name":"medium.bin","si')

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)
    again = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.bytes_fetched == len(MODEL["medium.bin"])
    assert again.bytes_fetched == 0


@pytest.mark.asyncio
async def test_after_a_reboot_small_files_are_read_before_they_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were not synced to the disk one by one, so the machine may have lost one of them."""
    store = ScriptedStore(MODEL)
    path = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    lost = path / "nested" / "deep" / "notes.txt"
    before = lost.stat()
    lost.write_bytes(bytes(before.st_size))
    os.utime(lost, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0
    monkeypatch.setattr("eventinit.downloads.workspace.current_boot", lambda: "the next boot")

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.bytes_fetched == before.st_size
    assert contents(path) == MODEL


@pytest.mark.asyncio
async def test_a_store_that_reads_no_ranges_is_fetched_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    store = ScriptedStore(MODEL, reads_ranges=False, pace_s=0.003)
    with anyio.CancelScope() as scope:
        await StoreSource([store]).fetch(
            "MODEL_AND_TOKENIZER", lambda p: scope.cancel() if p.bytes_done > TOTAL // 2 else None
        )
    store.pace_s = 0
    with caplog.at_level("INFO", "eventinit"):
        result = await StoreSource([store], DownloadSettings()).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == MODEL
    assert result.bytes_fetched >= len(MODEL[LARGE])
    assert f"eventinit.not_resumable source=memory://model file={LARGE}" in caplog.text


def test_spans_know_what_they_leave_out() -> None:
    spans = [(5, 7), (0, 2), (2, 3), (6, 9)]

    assert merged(spans) == [(0, 3), (5, 9)]
    assert length(spans) == 7
    assert gaps(spans, 12) == [(3, 5), (9, 12)]
    assert list(split(gaps(spans, 12), 4)) == [(3, 4), (4, 5), (9, 12)]
