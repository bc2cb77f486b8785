"""Nothing gets its final name that is not what the store has, and damage on the disk is found."""

import os
from pathlib import Path

import pytest

from eventinit.downloads.manifest import read_manifest
from eventinit.downloads.remote import Algorithm, Checksum
from eventinit.downloads.store_source import StoreSource
from eventinit.downloads.verification import digest, safetensors_problem
from eventinit.errors import IntegrityError
from eventinit.ports import DownloadSettings
from tests.downloads.conftest import Reports, contents
from tests.downloads.scripted_store import MIB, MODEL, Fault, Request, Script, ScriptedStore, ignore, weights

pytestmark = pytest.mark.usefixtures("cache")

FULL = DownloadSettings(verify="full")
NAMES = ["config.json", "medium.bin", "model.safetensors"]
TOTAL = sum(map(len, MODEL.values()))


def flip(name: str, times: int) -> Script:
    left = [times]

    def script(request: Request) -> Fault | None:
        if request.name != name or not left[0]:
            return None
        left[0] -= 1
        return Fault(after=1, flip=True)

    return script


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_flipped_byte_is_fetched_once_more(name: str, algorithm: Algorithm, reports: Reports) -> None:
    store = ScriptedStore(MODEL, algorithm=algorithm, script=flip(name, 1))

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert contents(result.path) == MODEL
    assert result.bytes_fetched == TOTAL + len(MODEL[name])
    assert reports.is_monotonic()
    assert read_manifest(result.path).files[name].verified == algorithm


@pytest.mark.asyncio
@pytest.mark.parametrize("start", [0, 16 * MIB, 32 * MIB])
async def test_a_byte_flipped_in_any_range_of_a_file_is_found(start: int) -> None:
    left = [start]

    def script(request: Request) -> Fault | None:
        is_due = request.name == "model.safetensors" and request.start in left
        if is_due:
            left.remove(request.start)
        return Fault(after=1, flip=True) if is_due else None

    store = ScriptedStore(MODEL, algorithm="sha256", script=script)

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert not left
    assert contents(result.path) == MODEL
    assert result.bytes_fetched == TOTAL + len(MODEL["model.safetensors"])


@pytest.mark.asyncio
async def test_a_file_whose_first_range_comes_last_is_verified_as_a_whole() -> None:
    stalls = [Fault(stall=True)]

    def script(request: Request) -> Fault | None:
        is_first = (request.name, request.start) == ("model.safetensors", 0)
        return stalls.pop() if is_first and stalls else None

    store = ScriptedStore(MODEL, algorithm="sha256", script=script, stall_timeout_s=1.0)

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert (store.requests[-1].name, store.requests[-1].start) == ("model.safetensors", 0)
    assert contents(result.path) == MODEL
    assert result.bytes_fetched == TOTAL


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NAMES)
async def test_a_byte_that_is_flipped_again_is_an_error_with_both_checksums(name: str, cache: Path) -> None:
    store = ScriptedStore(MODEL, algorithm="sha256", script=lambda r: Fault(1, flip=True) if r.name == name else None)

    with pytest.raises(IntegrityError, match=f"{name} is damaged") as caught:
        await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    expected = digest([MODEL[name]], "sha256").value
    assert caught.value.file == name
    assert caught.value.expected == f"sha256 {expected}"
    assert caught.value.actual != expected
    (folder,) = (cache / "memory").iterdir()
    assert name not in contents(folder)


@pytest.mark.asyncio
async def test_weights_that_the_store_itself_has_broken_never_reach_the_engine(cache: Path) -> None:
    for size in (100, 5 * MIB):
        store = ScriptedStore({"a.safetensors": weights(1, size)[:-1]}, identity=str(size))

        with pytest.raises(IntegrityError, match=r"expected the header of a safetensors file, got tensors of"):
            await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)

    assert [contents(folder) for folder in (cache / "memory").iterdir()] == [{}, {}]


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", ["md5", None])
@pytest.mark.parametrize("name", NAMES)
async def test_a_byte_flipped_on_the_disk_is_found_by_the_full_verification(
    name: str, algorithm: Algorithm | None
) -> None:
    """Its size and time are as they were, so that only the content tells."""
    store = ScriptedStore(MODEL, algorithm=algorithm)
    path = (await StoreSource([store], FULL).fetch("MODEL_AND_TOKENIZER", ignore)).path
    _flip_on_disk(path / name)

    assert (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0
    result = await StoreSource([store], FULL).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(path) == MODEL
    assert result.bytes_fetched == len(MODEL[name])


@pytest.mark.asyncio
async def test_without_a_checksum_the_record_says_size_only() -> None:
    path = (await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)).path

    files = read_manifest(path).files
    assert {files[name].verified for name in NAMES} == {"size only"}
    assert files["medium.bin"].checksum is None

    await StoreSource([ScriptedStore(MODEL)], FULL).fetch("MODEL_AND_TOKENIZER", ignore)
    assert read_manifest(path).files["medium.bin"].checksum == digest([MODEL["medium.bin"]], "sha256")


@pytest.mark.asyncio
async def test_a_file_that_was_only_touched_is_read_and_kept() -> None:
    store = ScriptedStore(MODEL, algorithm="md5")
    path = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    os.utime(path / "medium.bin", ns=(1, 1))

    assert (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0


@pytest.mark.asyncio
async def test_the_record_names_the_modes_that_are_complete() -> None:
    source = StoreSource([ScriptedStore(MODEL)])
    await source.fetch("TOKENIZER_ONLY", ignore)
    path = (await source.fetch("MODEL_AND_TOKENIZER", ignore)).path

    modes = read_manifest(path).modes
    assert [(mode.mode, mode.source, mode.files) for mode in modes] == [
        ("TOKENIZER_ONLY", "memory://model", 1),
        ("MODEL_AND_TOKENIZER", "memory://model", len(MODEL)),
    ]
    assert modes[1].bytes_total == TOTAL


def test_crc32c_is_what_its_standard_says() -> None:
    pytest.importorskip("google_crc32c")
    assert digest([b"12345", memoryview(b"6789")], "crc32c") == Checksum("crc32c", "e3069283")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (weights(1, 100), None),
        (weights(1, 0), None),
        (b"", "too few"),
        (b"\xff" * 16, "a header of"),
        (weights(1, 100)[:-1], "tensors of 100 bytes with 99"),
        (weights(1, 100) + b"x", "tensors of 100 bytes with 101"),
        ((2).to_bytes(8, "little") + b"[]", "no list of tensors"),
        ((2).to_bytes(8, "little") + b"{!", "no list of tensors"),
        ((8).to_bytes(8, "little") + b'{"a": 1}', "no list of tensors"),
        ((33).to_bytes(8, "little") + b'{"a": {"data_offsets": [4, 8]}}  ' + bytes(8), "a gap"),
    ],
)
def test_the_header_of_weights_has_to_cover_the_file(data: bytes, problem: str | None, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)

    found = safetensors_problem(tmp_path / "x")

    assert found is None if problem is None else problem in str(found)


def _flip_on_disk(path: Path) -> None:
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
