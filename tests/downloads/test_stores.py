"""What every kind of store does alike, on a real server of each."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import from_thread

from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.stores import open_store
from eventinit.errors import ConfigError, DownloadError, ModelNotFoundError, ObjectChangedError
from eventinit.ports import DownloadSettings
from tests.downloads.placed_models import FOREIGN_SETTINGS, KINDS, Place, placing
from tests.downloads.store_reading import copy, named, read, read_all

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

LARGE = os.urandom(3 * 1024 * 1024 + 5)
SHARD = "model-00001-of-00001.safetensors"
MODEL = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer.json": b"{}" * 100,
    "added_tokens.json": b"",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": SHARD, "b": "deep/a b/über+50%25 #1&2=?.bin"}}
    ).encode(),
    SHARD: LARGE,
    "deep/a b/über+50%25 #1&2=?.bin": b"odd",
}
"""All of it can be found without a listing too."""


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Puts files into a store of each kind, with nothing but this store in the environment."""
    for name in [name for name in os.environ if name.startswith(FOREIGN_SETTINGS)]:
        monkeypatch.delenv(name)
    with placing(str(request.param), request, tmp_path) as (put, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield put


def opened(uri: str) -> Store:
    return open_store(uri, DownloadSettings(stall_timeout_s=5.0))


async def test_every_file_is_listed_with_its_size_and_read_whole(place: Place) -> None:
    store = opened(place(MODEL))

    files = await store.list()

    assert {file.name: file.size for file in files} == {name: len(content) for name, content in MODEL.items()}
    assert all(file.version for file in files)
    assert await read_all(store) == MODEL


async def test_a_range_is_read_from_the_middle(place: Place) -> None:
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)

    assert store.reads_ranges
    assert await read(store, shard, 1_000_000, 2_500_001) == LARGE[1_000_000:2_500_001]
    assert await read(store, shard, len(LARGE) - 1, len(LARGE)) == LARGE[-1:]
    assert await read(store, shard, 7, 7) == b""


async def test_obstore_reads_where_the_environment_tells_it_more_than_an_address(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "false")
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)

    assert await read_all(store) == MODEL
    assert await read(store, shard, 1_000_000, 2_500_001) == LARGE[1_000_000:2_500_001]


async def test_bytes_come_in_pieces_and_not_at_once(place: Place) -> None:
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)

    sizes: list[int] = []
    await copy(store, shard, lambda piece: sizes.append(len(piece)))

    assert sum(sizes) == len(LARGE)
    assert max(sizes) <= 2 * 1024 * 1024


async def test_a_replaced_object_is_never_read_as_the_one_that_was_listed(place: Place) -> None:
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)
    another = RemoteFile(shard.name, shard.key, shard.size, '"another-etag"')

    with pytest.raises(ObjectChangedError, match="was replaced in the store"):
        await read(store, another, 10, 20)


async def test_an_object_of_another_size_is_never_read_as_the_one_that_was_listed(place: Place) -> None:
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)

    with pytest.raises(ObjectChangedError):
        await read(store, RemoteFile(shard.name, shard.key, shard.size + 10, shard.version), 10, 20)


async def test_an_object_that_is_gone_is_named(place: Place) -> None:
    store = opened(place(MODEL))
    await store.list()

    with pytest.raises(ModelNotFoundError, match=r"has no object '.*no-such-file"):
        await read(store, RemoteFile("no-such-file", "tiny/no-such-file", 10, None))


async def test_a_missing_folder_is_told(place: Place) -> None:
    with pytest.raises(ModelNotFoundError, match="check model_source"):
        await opened(place(MODEL) + "/no/such/folder").list()


async def test_a_read_that_is_cancelled_leaves_the_store_usable(place: Place) -> None:
    store = opened(place(MODEL))
    shard = named(await store.list(), SHARD)

    with anyio.CancelScope() as scope:
        await copy(store, shard, lambda _: from_thread.run_sync(scope.cancel))

    assert scope.cancelled_caught
    assert await read(store, shard) == LARGE


async def test_a_checksum_that_is_told_is_that_of_the_content(place: Place) -> None:
    store = opened(place(MODEL))
    files = await store.list()

    checksum = await store.checksum(named(files, SHARD))

    assert checksum is None or checksum.value == hashlib.new(checksum.algorithm, LARGE).hexdigest()
    is_on_plain_server = store.source.startswith("http")
    assert (checksum is None) == is_on_plain_server
    assert await store.checksum(named(files, "config.json")) is None


async def test_what_a_store_is_called_tells_it_from_others(place: Place) -> None:
    uri = place(MODEL)

    assert opened(uri).source == opened(uri + "/").source == uri
    assert opened(uri).identity == opened(uri + "/").identity
    assert opened(uri).identity != opened(uri + "-other").identity


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://host/model",
        "s3://",
        "s3://user@bucket/model",
        "s3://bucket/model?versionId=1",
        "gs:///model",
        "az://user:key@container/model",
        "abfss://user:key@container@account.dfs.core.windows.net/model",
        "https://user:password@host/model",
        "https://host/model#part",
        "https:///model",
    ],
)
async def test_a_uri_that_names_no_place_is_refused_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")

    with pytest.raises(ConfigError) as caught:
        opened(uri)

    assert "password" not in str(caught.value)
    assert not isinstance(caught.value, DownloadError)
