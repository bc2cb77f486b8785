"""Put files into a store of each kind, and name it by a URI."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest

from examples.local_s3 import LocalS3
from tests.downloads.conftest import write_model
from tests.servers.azurite import Azurite
from tests.servers.gcs_emulator import GcsEmulator
from tests.servers.plain_http import plain_http

KINDS = ("s3", "gs", "az", "http", "webdav")
FOREIGN_SETTINGS = ("AWS_", "GOOGLE_", "AZURE_", "STORAGE_EMULATOR_HOST", "AZURITE_")

Place = Callable[[dict[str, bytes]], str]

_numbers = count()


@contextmanager
def placing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[Place, dict[str, str]]]:
    """Yield what puts files under a prefix of their own and returns the URI, and the environment that goes with it."""
    if kind == "s3":
        server: LocalS3 = request.getfixturevalue("server")
        yield lambda files: _upload_s3(server, files, tmp_path), server.environment()
    elif kind == "gs":
        gcs: GcsEmulator = request.getfixturevalue("gcs_server")
        yield lambda files: _upload_gcs(gcs, files), gcs.environment()
    elif kind == "az":
        azure: Azurite = request.getfixturevalue("azure_server")
        yield lambda files: _upload_azure(azure, files), azure.environment()
    else:
        with ExitStack() as servers:
            yield lambda files: _serve(servers, files, is_listed=kind == "webdav"), {}


def _upload_s3(server: LocalS3, files: dict[str, bytes], tmp_path: Path) -> str:
    number = next(_numbers)
    uri = f"s3://models/placed-{number}"
    server.upload(write_model(tmp_path / f"placed-{number}", files), uri)
    return uri


def _upload_gcs(server: GcsEmulator, files: dict[str, bytes]) -> str:
    bucket = f"placed-{next(_numbers)}"
    server.create_bucket(bucket)
    server.upload(bucket, "tiny", files)
    return f"gs://{bucket}/tiny"


def _upload_azure(server: Azurite, files: dict[str, bytes]) -> str:
    container = f"placed-{next(_numbers)}"
    server.create_container(container)
    server.upload(container, "tiny", files)
    return f"az://{container}/tiny"


def _serve(servers: ExitStack, files: dict[str, bytes], *, is_listed: bool) -> str:
    server = servers.enter_context(plain_http(files))
    server.dav = is_listed
    return server.address
