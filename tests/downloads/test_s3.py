"""Fetching from a real S3 server."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import obstore
import pytest

from eventinit.downloads import open_source
from eventinit.ports import DownloadMode, DownloadSettings, FetchProgress
from examples.local_s3 import LocalS3
from tests.downloads.conftest import MODEL, TOKENIZER, Reports, contents, partials, safetensors

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

ALL = set(MODEL)
SLOW = DownloadSettings(max_bandwidth=100e6)
"""So slow that a fetch can be cancelled in its middle."""

NO_WEIGHTS = {name for name in MODEL if not name.endswith(".safetensors")}


def ignore(_: FetchProgress) -> None:
    pass


@pytest.mark.parametrize(
    ("mode", "names"),
    [("TOKENIZER_ONLY", TOKENIZER), ("EXCLUDE_SAFETENSORS", NO_WEIGHTS), ("MODEL_AND_TOKENIZER", ALL)],
)
async def test_each_mode_brings_its_files_byte_for_byte(
    s3: LocalS3, model_uri: str, mode: DownloadMode, names: set[str], reports: Reports
) -> None:
    result = await open_source(model_uri).fetch(mode, reports.append)

    expected = {name: MODEL[name] for name in names}
    total = sum(map(len, expected.values()))
    assert contents(result.path) == expected
    assert (result.files, result.bytes_total, result.bytes_fetched) == (len(names), total, total)
    assert reports[0] == FetchProgress(0, total, 0, len(names))
    assert reports[-1] == FetchProgress(total, total, len(names), len(names))
    assert reports.is_monotonic()


async def test_the_mode_none_asks_nobody(cache: Path) -> None:
    result = await open_source("s3://models/tiny").fetch("NONE", ignore)

    assert result.files == 0
    assert contents(cache) == {}


async def test_a_second_fetch_transfers_nothing(s3: LocalS3, model_uri: str, reports: Reports) -> None:
    first = await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore)
    second = await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert second.bytes_fetched == 0
    assert (second.path, second.files, second.bytes_total) == (first.path, first.files, first.bytes_total)
    assert reports == [FetchProgress(first.bytes_total, first.bytes_total, len(MODEL), len(MODEL))]


async def test_a_larger_mode_fetches_only_what_the_smaller_left_out(s3: LocalS3, model_uri: str) -> None:
    small = await open_source(model_uri).fetch("EXCLUDE_SAFETENSORS", ignore)
    large = await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore)

    assert large.bytes_fetched == large.bytes_total - small.bytes_total
    assert contents(large.path) == MODEL


async def test_a_changed_object_of_the_same_size_is_fetched_anew(
    s3: LocalS3, upload: Callable[[dict[str, bytes]], str]
) -> None:
    uri = upload({"config.json": b"old", "other.json": b"same"})
    await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)
    obstore.put(s3.store("models"), uri.removeprefix("s3://models/") + "/config.json", b"new")

    result = await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == {"config.json": b"new", "other.json": b"same"}
    assert result.bytes_fetched == 3


async def test_a_file_that_somebody_removed_or_cut_is_fetched_anew(
    s3: LocalS3, upload: Callable[[dict[str, bytes]], str]
) -> None:
    uri = upload({"a": b"aaaa", "b": b"bbbb", "c": b"cccc"})
    path = (await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)).path
    (path / "a").unlink()
    (path / "b").write_bytes(b"b")

    result = await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)

    assert result.bytes_fetched == 8
    assert contents(path) == {"a": b"aaaa", "b": b"bbbb", "c": b"cccc"}


async def test_a_file_whose_object_is_gone_is_removed(s3: LocalS3, upload: Callable[[dict[str, bytes]], str]) -> None:
    """Otherwise a model's old shards would be loaded beside its new ones."""
    weights = safetensors(b"2")
    uri = upload({"a.safetensors": safetensors(b"1"), "b.safetensors": weights})
    path = (await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)).path
    obstore.delete(s3.store("models"), uri.removeprefix("s3://models/") + "/a.safetensors")

    await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(path) == {"b.safetensors": weights}


async def test_a_file_appears_only_when_it_is_complete(s3: LocalS3, model_uri: str, cache: Path) -> None:
    """Cancelled in the middle of the large file: what is there is whole, and the large file is not there."""
    large = "model-00002-of-00002.safetensors"
    small_bytes = sum(len(content) for name, content in MODEL.items() if name != large)

    with anyio.CancelScope() as scope:

        def cancel_in_the_large_file(progress: FetchProgress) -> None:
            if progress.bytes_done > small_bytes:
                scope.cancel()

        await open_source(model_uri, settings=SLOW).fetch("MODEL_AND_TOKENIZER", cancel_in_the_large_file)

    assert scope.cancelled_caught
    (folder,) = (cache / "s3").iterdir()
    there = contents(folder)
    assert large not in there
    assert there.items() <= MODEL.items()


async def test_a_cancelled_fetch_is_completed_by_the_next_from_where_it_was(s3: LocalS3, model_uri: str) -> None:
    half = sum(map(len, MODEL.values())) // 2
    with anyio.CancelScope() as scope:
        await open_source(model_uri, settings=SLOW).fetch(
            "MODEL_AND_TOKENIZER", lambda progress: scope.cancel() if progress.bytes_done > half else None
        )
    assert scope.cancelled_caught

    result = await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == MODEL
    assert 0 < result.bytes_fetched < half
    assert partials(result.path) == []


async def test_two_fetches_at_once_leave_one_whole_model(s3: LocalS3, model_uri: str) -> None:
    first, second = await asyncio.gather(
        open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore),
        open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore),
    )

    assert first.path == second.path
    assert contents(first.path) == MODEL
    assert partials(first.path) == []
    assert (await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0


async def test_two_sources_never_share_a_folder(s3: LocalS3, upload: Callable[[dict[str, bytes]], str]) -> None:
    one, two = upload({"a": b"1"}), upload({"a": b"2"})

    paths = [(await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)).path for uri in (one, two)]

    assert [contents(path) for path in paths] == [{"a": b"1"}, {"a": b"2"}]


async def test_an_error_of_the_report_function_comes_out_as_it_is(s3: LocalS3, model_uri: str, cache: Path) -> None:
    def fail(progress: FetchProgress) -> None:
        if progress.files_done:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await open_source(model_uri).fetch("MODEL_AND_TOKENIZER", fail)

    (folder,) = (cache / "s3").iterdir()
    assert contents(folder).items() <= MODEL.items()


async def test_the_event_loop_stays_responsive_during_a_large_fetch(
    s3: LocalS3, upload: Callable[[dict[str, bytes]], str]
) -> None:
    uri = upload({"large.safetensors": safetensors(os.urandom(1024 * 1024) * 200)})
    lags: list[float] = []

    async def heartbeat() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            lags.append(time.monotonic() - before - 0.01)

    beating = asyncio.create_task(heartbeat())
    result = await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)
    beating.cancel()

    assert result.bytes_fetched == result.bytes_total > 200 * 1024 * 1024
    print(f"worst lag {max(lags) * 1000:.0f} ms over {result.seconds:.2f} s")
    assert max(lags) < 0.5
