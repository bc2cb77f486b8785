"""Reading from the socket: what happens on the way, and when it is obstore that reads instead."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from eventinit.downloads import open_source
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.stores import open_store
from eventinit.errors import DownloadError, StoreUnavailableError
from eventinit.ports import DownloadSettings
from tests.downloads.children import until
from tests.downloads.conftest import contents
from tests.downloads.scripted_store import ignore
from tests.downloads.store_reading import named, read, read_all
from tests.servers.plain_http import PlainHttp, plain_http
from tests.servers.proxy import Fault, misbehaving_proxy
from tests.servers.scripted_s3 import Answer, error, scripted_s3

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

WEIGHTS = os.urandom(3 * 1024 * 1024 + 5)
MODEL = {"config.json": b"{}", "data.bin": WEIGHTS}


@pytest.fixture
def web() -> Iterator[PlainHttp]:
    with plain_http(MODEL) as server:
        server.dav = True
        yield server


@pytest.fixture(params=["from the socket", "by obstore"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by obstore":
        monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "false")


def opened(uri: str, stall_timeout_s: float = 5.0) -> Store:
    return open_store(uri, DownloadSettings(stall_timeout_s=stall_timeout_s))


async def test_a_store_that_is_busy_tells_how_long_to_leave_it_alone(web: PlainHttp) -> None:
    with misbehaving_proxy(web.address) as proxy:
        store = opened(f"{proxy.address}/models/tiny")
        file = named(await store.list(), "data.bin")
        proxy.misbehave(Fault("status", 503, {"Retry-After": "7"}), "data.bin")

        with pytest.raises(StoreUnavailableError, match="503") as caught:
            await read(store, file)

    assert caught.value.retry_after_s == 7


async def test_a_proxy_that_the_environment_names_is_used(web: PlainHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving_proxy(web.address) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        monkeypatch.setenv("no_proxy", "")
        assert await read_all(opened(web.address)) == MODEL

        assert proxy.sent["data.bin"] >= len(WEIGHTS)


async def test_a_host_without_proxy_is_read_directly(web: PlainHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving_proxy(web.address) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        monkeypatch.setenv("no_proxy", "127.0.0.1")

        assert await read_all(opened(web.address)) == MODEL
        assert not proxy.sent


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("after", [0, 1_000_000], ids=["before the answer", "in the middle"])
async def test_a_read_that_stalls_ends_at_once_when_it_is_cancelled(web: PlainHttp, after: int) -> None:
    """The caller waits for its thread, so that whoever sees the end sees the end of the thread too."""
    store = opened(web.address, stall_timeout_s=60)
    file = named(await store.list(), "data.bin")
    web.silent_after, web.requests = after, []

    began = 0.0
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, store, file)
            await until(lambda: bool(web.requests))
            began = time.monotonic()
            scope.cancel()

    assert time.monotonic() - began < 5
    web.silent_after = None
    assert await read(store, file) == WEIGHTS


@pytest.mark.usefixtures("cache")
async def test_files_that_follow_one_another_come_over_one_connection(web: PlainHttp) -> None:
    web.files = {f"{n}.json": b"%d" % n for n in range(50)}
    source = open_source(web.address, settings=DownloadSettings(max_concurrency=1))

    result = await source.fetch("MODEL_AND_TOKENIZER", ignore)

    assert contents(result.path) == web.files
    assert web.connections < 10


async def test_a_file_that_has_moved_is_read_where_it_is(web: PlainHttp) -> None:
    with plain_http({"elsewhere.bin": WEIGHTS}) as other:
        web.redirects["data.bin"] = f"{other.address}/elsewhere.bin"
        store = opened(web.address)

        assert await read(store, named(await store.list(), "data.bin"), 10, 2_000_000) == WEIGHTS[10:2_000_000]


async def test_redirects_in_a_circle_end(web: PlainHttp) -> None:
    store = opened(web.address)
    file = named(await store.list(), "data.bin")
    web.redirects["data.bin"] = f"{web.address}/data.bin"

    with pytest.raises(DownloadError, match=r"redirects the object .* again and again"):
        await read(store, file)


async def test_a_policy_that_refuses_signed_addresses_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    content: Answer = (206, {"ETag": '"e"', "Content-Range": "bytes 0-3/4", "Last-Modified": _DATE}, b"abcd")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUMMY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")
    file = RemoteFile("a", "tiny/a", 4, '"e"')

    with scripted_s3(lambda path: error(403, "AccessDenied") if "X-Amz-Signature" in path else content) as script:
        monkeypatch.setenv("AWS_ENDPOINT_URL", script.endpoint)
        store = opened("s3://models/tiny")
        found = [await read(store, file) for _ in range(2)]

    assert found == [b"abcd"] * 2
    assert len(script.requests) == 3, "it is asked for no second address"


@pytest.fixture
def authority(tmp_path: Path) -> ssl.SSLContext:
    """A server's certificate that nobody knows; its file is ``tmp_path / "certificate.pem"``."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_server_is_trusted_by_the_authority_that_the_environment_names_and_never_left_for_an_open_line(
    authority: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with plain_http(MODEL, authority) as web, plain_http(MODEL) as unencrypted:
        web.dav = True
        store = opened(web.address)
        assert await read_all(store) == MODEL

        web.redirects["data.bin"] = f"{unencrypted.address}/data.bin"
        with pytest.raises(DownloadError, match="302"):
            await read(store, named(await store.list(), "data.bin"))


@pytest.mark.parametrize("scheme", ["https", "s3"])
async def test_a_certificate_that_nobody_knows_is_called_that_at_once(
    scheme: str, authority: ssl.SSLContext, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain_http(MODEL, authority) as web:
        use_endpoint(monkeypatch, web.address.removesuffix("/models/tiny"))
        source = open_source(web.address if scheme == "https" else "s3://models/tiny")
        with pytest.raises(DownloadError, match=r"certificate of .* is not trusted; set SSL_CERT_FILE") as caught:
            await source.fetch("MODEL_AND_TOKENIZER", ignore)
    assert not isinstance(caught.value, StoreUnavailableError), "it would be tried again"


@pytest.mark.parametrize("uri", ["https://no.such.host.invalid/model", "s3://models/tiny"])
async def test_a_host_that_does_not_exist_is_called_that(
    uri: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint(monkeypatch, "https://no.such.host.invalid")
    with pytest.raises(StoreUnavailableError, match=r"no host of the name in https://no\.such\.host\.invalid"):
        await open_source(uri, settings=DownloadSettings(attempts=1)).fetch("MODEL_AND_TOKENIZER", ignore)


def use_endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for name, value in {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
