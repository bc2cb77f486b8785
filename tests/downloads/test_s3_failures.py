"""What a user is told when an S3 fetch cannot work, on the real server wherever it can be made to refuse."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import obstore
import pytest

from eventinit.downloads import open_source
from eventinit.downloads.cache import cache_root
from eventinit.errors import (
    AccessDeniedError,
    DiskFullError,
    DownloadError,
    ModelNotFoundError,
    StoreUnavailableError,
    UnsafeKeyError,
)
from eventinit.ports import DownloadResult, FetchProgress
from examples.local_s3 import LocalS3
from tests.downloads.conftest import MODEL, contents
from tests.servers.scripted_s3 import Answer, ScriptedS3, error, listing, scripted_s3

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

LARGE = "model-00002-of-00002.safetensors"

Script = Callable[[Callable[[str], Answer]], ScriptedS3]


async def fetch(uri: str = "s3://models/tiny") -> DownloadResult:
    return await open_source(uri).fetch("MODEL_AND_TOKENIZER", lambda _: None)


@pytest.fixture
def script(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Serve a script as the store that the environment names."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUMMY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")
    with ExitStack() as servers:

        def serve(answers: Callable[[str], Answer]) -> ScriptedS3:
            server = servers.enter_context(scripted_s3(answers))
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
            return server

        yield serve


async def test_a_missing_bucket_is_named(s3: LocalS3) -> None:
    with pytest.raises(ModelNotFoundError, match=r"has no bucket 'no-such-bucket'.*check model_source"):
        await fetch("s3://no-such-bucket/tiny")


async def test_a_missing_prefix_is_told_from_a_missing_bucket(s3: LocalS3, model_uri: str) -> None:
    with pytest.raises(ModelNotFoundError, match="bucket 'models' has no objects under 'nothing/here'"):
        await fetch("s3://models/nothing/here")


async def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(s3: LocalS3, model_uri: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no objects under 'tin'"):
        await fetch("s3://models/tin")


async def test_a_key_without_access_to_the_bucket_is_refused(
    s3: LocalS3, model_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment(s3.stranger).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(AccessDeniedError, match=r"403 AccessDenied.*AWS_ACCESS_KEY_ID") as caught:
        await fetch(model_uri)

    assert caught.value.__cause__ is not None


async def test_an_unknown_key_is_refused_without_telling_the_secret(
    s3: LocalS3, model_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-s3cr3t")

    with pytest.raises(AccessDeniedError, match="SignatureDoesNotMatch") as caught:
        await fetch(model_uri)

    assert "wrong-s3cr3t" not in str(caught.value) + str(caught.value.__cause__)


async def test_a_server_that_is_down_is_named_soon(cache: Path, s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hidden@127.0.0.1:9")
    started = time.monotonic()

    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:9 does not answer") as caught:
        await fetch()

    assert time.monotonic() - started < 30
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"AWS_EC2_METADATA_DISABLED": "true"}, {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["no metadata service", "a silent one"],
)
async def test_without_credentials_nobody_is_asked(
    cache: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(AccessDeniedError, match="no credentials in the environment; set AWS_ACCESS_KEY_ID"):
        await fetch()


async def test_a_metadata_service_without_credentials_is_told_as_such(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    service = script(lambda _: error(404, "NotFound"))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", service.endpoint)

    with pytest.raises(AccessDeniedError, match=r"metadata service gives no credentials .*set AWS_ACCESS_KEY_ID"):
        await fetch()


async def test_half_of_the_credentials_is_told_as_such(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")

    with pytest.raises(AccessDeniedError, match="only half of the credentials"):
        await fetch()


async def test_a_public_bucket_needs_no_credentials(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    script(lambda path: listing() if "list-type" in path else error(404, "NoSuchKey"))

    with pytest.raises(ModelNotFoundError, match="no objects"):
        await fetch()


@pytest.mark.parametrize("key", ["tiny/../../x", "tiny/a\\b", "tiny//x", "tiny/./x", "tiny/.eventinit/manifest.json"])
async def test_a_key_that_leaves_the_folder_is_refused_before_anything_is_fetched(key: str, script: Script) -> None:
    server = script(lambda _: listing(("tiny/config.json", 2), (key, 2)))

    with pytest.raises(UnsafeKeyError, match="rename the object"):
        await fetch()

    assert [path for path in server.requests if "list-type" not in path] == []
    assert contents(cache_root()) == {}


async def test_an_object_that_is_replaced_meanwhile_is_an_error_and_never_a_mix(
    s3: LocalS3, upload: Callable[[dict[str, bytes]], str], cache: Path
) -> None:
    uri = upload({"a": b"a", "large": os.urandom(200 * 1024 * 1024)})
    key = uri.removeprefix("s3://models/") + "/large"

    def replace_once(progress: FetchProgress) -> None:
        if progress.files_done == 1 and not replaced:
            replaced.append(obstore.put(s3.store("models"), key, b"new" * 1024))

    replaced: list[object] = []
    with pytest.raises(DownloadError, match="while it was being fetched; fetch again"):
        await open_source(uri).fetch("MODEL_AND_TOKENIZER", replace_once)

    assert replaced
    (folder,) = (cache / "s3").iterdir()
    assert contents(folder) == {"a": b"a"}
    await fetch(uri)
    assert contents(folder) == {"a": b"a", "large": b"new" * 1024}


async def test_a_store_that_ignores_if_match_cannot_pass_another_version(script: Script) -> None:
    script(
        lambda path: (
            listing(("tiny/a", 4))
            if "list-type" in path
            else (206, {"ETag": '"f"', "Content-Range": "bytes 0-3/4", "Last-Modified": _DATE}, b"abcd")
        )
    )

    with pytest.raises(DownloadError, match="a was replaced in the store while it was being fetched"):
        await fetch()

    assert contents(cache_root()) == {}


async def test_a_body_that_ends_early_is_no_file(script: Script) -> None:
    script(
        lambda path: (
            listing(("tiny/a", 9))
            if "list-type" in path
            else (206, {"ETag": '"e"', "Content-Range": "bytes 0-3/4", "Last-Modified": _DATE}, b"abcd")
        )
    )

    with pytest.raises(DownloadError):
        await fetch()

    assert contents(cache_root()) == {}


async def test_a_bucket_in_another_region_names_the_setting(script: Script) -> None:
    script(lambda _: error(400, "AuthorizationHeaderMalformed"))

    with pytest.raises(DownloadError, match="set AWS_REGION"):
        await fetch()


async def test_a_store_that_is_overloaded_says_so(script: Script) -> None:
    script(lambda _: error(503, "SlowDown"))

    with pytest.raises(StoreUnavailableError, match="answered 503 SlowDown"):
        await fetch()


async def test_a_cache_that_cannot_be_written_names_its_setting(
    s3: LocalS3, model_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / "a-file"))

    with pytest.raises(DownloadError, match="set EVENTINIT_CACHE to another folder"):
        await fetch(model_uri)


async def test_a_full_disk_is_told_as_such_and_leaves_no_file_that_is_not_whole(
    s3: LocalS3, model_uri: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk cannot be filled in a test, so the kernel's answer is put in its place."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(DiskFullError, match=r"free some space .*or set EVENTINIT_CACHE"):
        await fetch(model_uri)

    (folder,) = (cache / "s3").iterdir()
    assert contents(folder).items() <= MODEL.items()
    assert LARGE not in contents(folder)


_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
