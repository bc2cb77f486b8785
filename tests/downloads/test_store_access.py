"""How stores find their credentials, and what is told when these are missing or wrong."""

import os
from pathlib import Path

import obstore
import pytest

from eventinit.downloads.remote import Checksum, RemoteFile, Store
from eventinit.downloads.stores import open_store
from eventinit.downloads.stores.errors import redacted
from eventinit.errors import AccessDeniedError, ConfigError, DownloadError, ModelNotFoundError, StoreUnavailableError
from eventinit.ports import DownloadSettings
from examples.local_s3 import LocalS3
from tests.downloads.placed_models import FOREIGN_SETTINGS
from tests.downloads.store_reading import named, read_all
from tests.servers.azurite import ACCOUNT, KEY, Azurite
from tests.servers.gcs_emulator import GcsEmulator
from tests.servers.scripted_s3 import Answer, listing, scripted_s3

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

MODEL = {"config.json": b"{}", "large.bin": os.urandom(2 * 1024 * 1024)}
NOWHERE = "127.0.0.1:9"
WRONG_KEY = "V3JvbmctczNjcjN0LWtleS1vZi1ub2JvZHk="


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN_SETTINGS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", NOWHERE)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", NOWHERE)


@pytest.fixture(scope="module")
def private(azure_server: Azurite) -> Azurite:
    azure_server.create_container("private")
    azure_server.upload("private", "tiny", MODEL)
    return azure_server


@pytest.fixture(scope="module")
def bucket(gcs_server: GcsEmulator) -> GcsEmulator:
    gcs_server.create_bucket("access")
    gcs_server.upload("access", "tiny", MODEL)
    return gcs_server


def opened(uri: str) -> Store:
    return open_store(uri, DownloadSettings(stall_timeout_s=5.0))


async def test_azure_takes_a_connection_string(private: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", private.connection_string())

    assert await read_all(opened("az://private/tiny")) == MODEL


@pytest.mark.parametrize("names", [("ACCOUNT_NAME", "ACCOUNT_KEY"), ("ACCOUNT", "KEY")])
async def test_azure_takes_account_and_key(
    private: Azurite, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", private.endpoint)
    for name, value in zip(names, (ACCOUNT, KEY), strict=True):
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)

    assert await read_all(opened("az://private/tiny")) == MODEL


async def test_azure_takes_the_account_of_a_data_lake_uri(private: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", private.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    uri = f"abfss://private@{ACCOUNT}.dfs.core.windows.net/tiny"

    store = opened(uri)

    assert store.source == uri
    assert await read_all(store) == MODEL


async def test_azure_reads_a_public_container_without_credentials(
    private: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.create_container("public", is_public=True)
    private.upload("public", "tiny", MODEL)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"BlobEndpoint={private.endpoint}")
    store = opened("az://public/tiny")

    assert await read_all(store) == MODEL
    assert await store.checksum(named(await store.list(), "large.bin"))


async def test_azure_without_an_account_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="names no storage account; set AZURE_STORAGE_ACCOUNT_NAME"):
        opened("az://private/tiny")


@pytest.mark.parametrize("secret", [f"AccountKey={WRONG_KEY}", "SharedAccessSignature=sv=2021-08-06&sig=s3cr3t-value"])
async def test_azure_refuses_wrong_credentials_without_showing_them(
    private: Azurite, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"AccountName={ACCOUNT};{secret};BlobEndpoint={private.endpoint}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)

    with pytest.raises(
        AccessDeniedError, match=r"refused container 'private' \(403.*AZURE_STORAGE_ACCOUNT_KEY"
    ) as caught:
        await opened("az://private/tiny").list()

    shown = f"{caught.value} {caught.value.__cause__!r}"
    assert WRONG_KEY not in shown
    assert "s3cr3t" not in shown


async def test_azure_names_a_missing_container(private: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in private.environment().items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ModelNotFoundError, match=r"has no container 'no-such'; check model_source"):
        await opened("az://no-such/tiny").list()


async def test_google_reads_a_public_bucket_without_credentials(
    bucket: GcsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_BASE_URL", bucket.endpoint)

    assert await read_all(opened("gs://access/tiny")) == MODEL


async def test_google_takes_its_emulator_without_a_scheme(bucket: GcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.endpoint.removeprefix("http://"))

    assert await read_all(opened("gs://access/tiny")) == MODEL


async def test_google_names_a_key_file_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")

    with pytest.raises(DownloadError, match=r"/no/such/key\.json"):
        await opened("gs://access/tiny").list()


@pytest.mark.parametrize(
    ("uri", "settings", "setting"),
    [
        ("gs://access/tiny", {"STORAGE_EMULATOR_HOST": NOWHERE}, "STORAGE_EMULATOR_HOST"),
        (
            "az://private/tiny",
            {"AZURE_STORAGE_USE_EMULATOR": "1", "AZURITE_BLOB_STORAGE_URL": f"http://{NOWHERE}"},
            "AZURE_STORAGE_ACCOUNT_NAME",
        ),
    ],
)
async def test_a_store_that_is_down_is_named_with_its_setting(
    uri: str, settings: dict[str, str], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:9.* does not answer; check {setting}"):
        await opened(uri).list()


async def test_an_object_in_parts_has_no_checksum_at_s3(server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ETag is an MD5 of MD5s."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    obstore.put(server.store("models"), "parts/large", os.urandom(12 * 1024 * 1024), use_multipart=True)
    store = opened("s3://models/parts")

    (file,) = await store.list()

    assert "-" in (file.version or "")
    assert await store.checksum(file) is None


@pytest.mark.parametrize(
    ("uri", "headers", "is_md5"),
    [
        ("s3://models/tiny", {}, True),
        ("s3://models/tiny", {"x-amz-server-side-encryption": "AES256"}, True),
        ("s3://models/tiny", {"x-amz-server-side-encryption": "aws:kms"}, False),
        ("s3://models/tiny", {"x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
        ("s3://models--use1-az4--x-s3/tiny", {}, False),
    ],
    ids=["plain", "key of S3", "key of KMS", "key of the customer", "directory bucket"],
)
async def test_an_etag_counts_as_md5_only_where_it_is_one(
    uri: str, headers: dict[str, str], is_md5: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = "9a0364b9e99bb480dd25e1f0284c8555"
    answer: Answer = (206, {"ETag": f'"{etag}"', "Content-Range": "bytes 0-0/9", **headers}, b"a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUMMY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")
    file = RemoteFile("large", "tiny/large", 2**30, f'"{etag}"')

    with scripted_s3(lambda path: listing() if "list-type" in path else answer) as script:
        monkeypatch.setenv("AWS_ENDPOINT_URL", script.endpoint)
        checksum = await opened(uri).checksum(file)

    assert checksum == (Checksum("md5", etag) if is_md5 else None)


async def test_a_checksum_of_another_version_does_not_count(server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    obstore.put(server.store("models"), "replaced/large", MODEL["large.bin"], use_multipart=False)
    store = opened("s3://models/replaced")
    (file,) = await store.list()
    obstore.put(server.store("models"), "replaced/large", os.urandom(2 * 1024 * 1024), use_multipart=False)

    assert await store.checksum(file) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:pw@host/a/b?X-Amz-Signature=abc in 3 ms", "GET https://***@host/a/b?*** in 3 ms"),
        ("uri: Some(\n  http://host/a?sig=abc,\n)", "uri: Some(\n  http://host/a?***,\n)"),
        ("<SignatureProvided>abc</SignatureProvided>", "<SignatureProvided>***</SignatureProvided>"),
        ("<StringToSign>GET\nabc</StringToSign>", "<StringToSign>***</StringToSign>"),
        ("<AWSAccessKeyId>abc</AWSAccessKeyId>", "<AWSAccessKeyId>***</AWSAccessKeyId>"),
        ('<?xml version="1.0"?><Code>x</Code>', '<?xml version="1.0"?><Code>x</Code>'),
        ("the key s3cr3t-value is wrong", "the key *** is wrong"),
    ],
)
async def test_a_text_that_is_shown_holds_no_secret(text: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")

    assert redacted(text) == shown
