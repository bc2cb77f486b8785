"""Folders on plain web servers, which have no listing, and sometimes neither ranges nor etags."""

import hashlib
import json
import logging
import os
from base64 import b64encode
from collections.abc import Iterator

import pytest

from eventinit.downloads.remote import Checksum
from eventinit.downloads.stores import open_store
from eventinit.downloads.stores.http import HttpModels
from eventinit.errors import (
    AccessDeniedError,
    DownloadError,
    ModelNotFoundError,
    ObjectChangedError,
    StoreSilentError,
    StoreUnavailableError,
)
from eventinit.ports import DownloadSettings
from tests.downloads.store_reading import copy, named, read, read_all
from tests.servers.plain_http import PlainHttp, plain_http

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

SHARDS = {f"model-0000{n}-of-00002.safetensors": os.urandom(2 * 1024 * 1024) for n in (1, 2)}
INDEX = {
    "model.safetensors.index.json": json.dumps(
        {"weight_map": dict.fromkeys("ab", "") | dict(zip("ab", SHARDS, strict=True))}
    ).encode()
}
MODEL = {"config.json": b"{}", "tokenizer.json": b"{}" * 50, **INDEX, **SHARDS}


@pytest.fixture
def web() -> Iterator[PlainHttp]:
    with plain_http(MODEL) as server:
        yield server


def opened(server: PlainHttp, stall_timeout_s: float = 5.0) -> HttpModels:
    uri = server.address + (f"?{server.query}" if server.query else "")
    store = open_store(uri, DownloadSettings(stall_timeout_s=stall_timeout_s))
    assert isinstance(store, HttpModels)
    return store


async def test_shards_are_found_by_the_index_and_other_files_by_their_names(web: PlainHttp) -> None:
    web.files["something-else.txt"] = b"nobody knows of this"

    assert await read_all(opened(web)) == MODEL


async def test_weights_in_one_file_need_no_index(web: PlainHttp) -> None:
    web.files = {"config.json": b"{}", "model.safetensors": b"weights"}

    assert await read_all(opened(web)) == web.files


async def test_a_listing_finds_every_file_in_one_request(web: PlainHttp) -> None:
    web.dav = True
    web.files["sub/any-name.bin"] = b"anything"

    assert await read_all(opened(web)) == web.files
    assert not [request for request in web.requests if request.startswith("HEAD")]


async def test_a_server_without_ranges_is_read_from_the_beginning(web: PlainHttp) -> None:
    web.ranges = False
    store = opened(web)

    files = await store.list()

    assert not store.reads_ranges
    assert {file.name: await read(store, file) for file in files} == MODEL


async def test_a_server_without_head_is_asked_for_first_bytes(web: PlainHttp) -> None:
    web.heads = False

    assert await read_all(opened(web)) == MODEL


async def test_a_server_without_etags_has_the_time_of_change_for_a_version(web: PlainHttp) -> None:
    web.etags = False
    store = opened(web)

    files = await store.list()

    assert {file.version for file in files} == {"modified 2023-11-14T22:13:20+00:00"}
    assert await read_all(store) == MODEL


async def test_a_server_without_either_has_no_version(web: PlainHttp) -> None:
    web.etags = web.modified = False

    assert {file.version for file in await opened(web).list()} == {None}
    assert await read_all(opened(web)) == MODEL


@pytest.mark.parametrize("heads", [True, False])
async def test_a_server_that_does_not_tell_sizes_is_refused(web: PlainHttp, heads: bool) -> None:
    web.lengths, web.heads = False, heads

    with pytest.raises(DownloadError, match=r"does not tell the size of '.*'.*Content-Length"):
        await opened(web).list()


async def test_a_replaced_file_is_noticed(web: PlainHttp) -> None:
    store = opened(web)
    config = named(await store.list(), "config.json")
    web.files["config.json"] = b"[]"

    with pytest.raises(ObjectChangedError, match=r"config\.json was replaced"):
        await read(store, config)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_shard_that_the_index_names_must_be_there(web: PlainHttp, status: int) -> None:
    web.statuses["model-00002-of-00002.safetensors"] = status
    kind = AccessDeniedError if status == 403 else ModelNotFoundError

    with pytest.raises(kind, match=r"model-00002-of-00002\.safetensors"):
        await opened(web).list()


async def test_a_refused_file_is_never_taken_for_a_missing_one(web: PlainHttp) -> None:
    web.statuses["tokenizer.json"] = 403

    with pytest.raises(AccessDeniedError, match=r"refused the file 'tokenizer.json' \(403\)"):
        await opened(web).list()


async def test_a_server_that_says_forbidden_of_missing_files_is_understood(web: PlainHttp) -> None:
    web.absent = 403

    assert await read_all(opened(web)) == MODEL


async def test_a_folder_that_is_forbidden_as_a_whole_is_refused(web: PlainHttp) -> None:
    web.files, web.absent = {}, 403

    with pytest.raises(AccessDeniedError, match=r"\(403\); .*signed query"):
        await opened(web).list()


async def test_an_empty_folder_has_no_model(web: PlainHttp) -> None:
    web.files = {}

    with pytest.raises(ModelNotFoundError, match=r"has no file 'config.json'; check model_source"):
        await opened(web).list()


async def test_a_server_that_answers_for_every_name_is_not_believed(web: PlainHttp) -> None:
    web.absent = 200

    with pytest.raises(DownloadError, match="answers for files that do not exist"):
        await opened(web).list()


async def test_an_index_that_is_none_is_told(web: PlainHttp) -> None:
    web.files["model.safetensors.index.json"] = b"<html>"

    with pytest.raises(DownloadError, match="is no index of safetensors"):
        await opened(web).list()


async def test_a_query_goes_with_every_request_and_into_no_text(
    web: PlainHttp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web.query = "sig=s3cr3t%2Bvalue"
    store = opened(web)

    assert await read_all(store) == MODEL
    assert all(request.endswith("?sig=s3cr3t%2Bvalue") for request in web.requests)
    web.query = "sig=another"
    with pytest.raises(AccessDeniedError) as caught:
        await read(store, (await opened(web).list())[0])

    told = [store.source, store.identity, str(caught.value), repr(caught.value.__cause__), caplog.text]
    assert not [text for text in told if "s3cr3t" in text]


async def test_a_connection_that_is_cut_may_be_tried_again(web: PlainHttp) -> None:
    store = opened(web)
    shard = named(await store.list(), next(iter(SHARDS)))
    web.cut_after = 1_000_000

    with pytest.raises(StoreUnavailableError, match="was cut"):
        await read(store, shard)

    web.cut_after = None
    assert await read(store, shard) == SHARDS[shard.name]


async def test_a_cut_loses_less_than_a_piece(web: PlainHttp) -> None:
    store = opened(web)
    shard = named(await store.list(), next(iter(SHARDS)))
    web.cut_after, got = 1_000_000, bytearray()

    with pytest.raises(StoreUnavailableError):
        await copy(store, shard, got.extend)

    assert len(got) > 1_000_000 - 256 * 1024
    assert got == SHARDS[shard.name][: len(got)]


async def test_one_failed_request_is_one_request(web: PlainHttp) -> None:
    """Who reads decides about the next try; a client that tries again by itself would hide how long it was silent."""
    store = opened(web)
    shard = named(await store.list(), next(iter(SHARDS)))
    web.cut_after = 1000
    web.requests.clear()

    with pytest.raises(StoreUnavailableError):
        await read(store, shard)

    assert len(web.requests) == 1


@pytest.mark.parametrize("after", [0, 500_000], ids=["before the first byte", "in the middle"])
async def test_a_silent_server_is_told_from_one_that_refuses(web: PlainHttp, after: int) -> None:
    store = opened(web, stall_timeout_s=0.5)
    shard = named(await store.list(), next(iter(SHARDS)))
    web.silent_after = after

    with pytest.raises(StoreSilentError, match=r"sent nothing of the object '.*' for 0\.5 s") as caught:
        await read(store, shard)

    assert caught.value.silent_s == 0.5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, StoreUnavailableError),
        (503, StoreUnavailableError),
        (429, StoreUnavailableError),
        (401, AccessDeniedError),
        (403, AccessDeniedError),
        (404, ModelNotFoundError),
        (412, ObjectChangedError),
        (416, ObjectChangedError),
        (418, DownloadError),
    ],
)
async def test_each_status_has_its_error(web: PlainHttp, status: int, kind: type[DownloadError]) -> None:
    store = opened(web)
    config = named(await store.list(), "config.json")
    web.statuses["config.json"] = status

    with pytest.raises(kind) as caught:
        await read(store, config)

    assert type(caught.value) is kind


async def test_a_server_that_is_down_is_named() -> None:
    store = open_store("http://127.0.0.1:9/model", DownloadSettings())

    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:9 does not answer; check the network"):
        await store.list()


@pytest.mark.parametrize("dav", [False, True])
@pytest.mark.parametrize("header", ["X-Checksum-Sha256", "Digest", "Repr-Digest"])
async def test_a_digest_in_the_headers_is_taken(web: PlainHttp, header: str, dav: bool) -> None:
    name = next(iter(SHARDS))
    digest = hashlib.sha256(SHARDS[name])
    told = digest.hexdigest() if header.startswith("X-") else b64encode(digest.digest()).decode()
    values = {"X-Checksum-Sha256": told, "Digest": f"sha-256={told}", "Repr-Digest": f"sha-256=:{told}:"}
    web.headers[name] = {header: values[header]}
    web.dav = dav
    store = opened(web)

    file = named(await store.list(), name)

    assert await store.checksum(file) == Checksum("sha256", digest.hexdigest())
