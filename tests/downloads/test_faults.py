"""Faults injected for real: whatever a store or a network does, the bytes are exact or the error is typed."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path

import anyio
import obstore
import pytest

from eventinit.downloads import open_source
from eventinit.downloads.manifest import read_manifest
from eventinit.errors import DownloadError
from eventinit.ports import DownloadResult, DownloadSettings
from examples.local_s3 import LocalS3
from tests.conftest import EXCESS
from tests.downloads.conftest import contents
from tests.downloads.fault_cases import CASES, MODEL, OTHER, RECORDED, STORES, TOTAL, WEIGHTS, World, table
from tests.downloads.scripted_store import ignore
from tests.servers.plain_http import plain_http
from tests.servers.proxy import Fault, misbehaving_proxy

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

PATIENCE_S = 120.0
"""A fetch that takes longer would go on for ever."""

SEEDS = int(os.environ.get("EVENTINIT_TRIALS", "4"))
"""``make test-exhaustive`` asks for 100."""

README = Path(__file__).parents[1] / "README.md"

Opened = tuple[World, str]

_numbers = count()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventinit.downloads.reading.BACKOFF_S", 0.01)


@contextmanager
def s3_world(server: LocalS3, *, checksums: bool, seed: int) -> Generator[Opened]:
    """The model in SeaweedFS; an object put in one piece has its MD5 for an etag."""
    store, prefix = server.store("models"), f"faults-{next(_numbers)}"

    def put(name: str, content: bytes) -> None:
        obstore.put(store, f"{prefix}/{name}", content, use_multipart=not checksums and len(content) > 1000)

    with misbehaving_proxy(server.endpoint, seed) as proxy:
        world = World(proxy, put, lambda name: obstore.delete(store, f"{prefix}/{name}"))
        for name, content in world.files.items():
            put(name, content)
        yield world, f"s3://models/{prefix}"


@contextmanager
def web_world(*, ranges: bool, checksums: bool) -> Generator[Opened]:
    """The model on a web server that lists it."""
    with plain_http({}) as server, misbehaving_proxy(server.address) as proxy:
        server.dav, server.ranges = True, ranges

        def put(name: str, content: bytes) -> None:
            server.files[name] = content
            if checksums:
                server.headers[name] = {"X-Checksum-Sha256": sha256(content).hexdigest()}

        world = World(proxy, put, server.files.pop)
        for name, content in world.files.items():
            put(name, content)
        yield world, f"{proxy.address}/models/tiny"


@contextmanager
def opened(
    store: str, server: LocalS3, monkeypatch: pytest.MonkeyPatch, *, checksums: bool = True, seed: int = 0
) -> Generator[Opened]:
    """Open the model in a store of a kind, behind a proxy that behaves so far, and yield its URI too."""
    if store != "S3":
        with web_world(ranges=store == "web", checksums=checksums) as world:
            yield world
        return
    with s3_world(server, checksums=checksums, seed=seed) as world:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", world[0].proxy.address)
        yield world


async def fetch(uri: str, stall_timeout_s: float = 20.0) -> DownloadResult:
    settings = DownloadSettings(attempts=3, stall_timeout_s=stall_timeout_s)
    with anyio.fail_after(PATIENCE_S):
        return await open_source(uri, settings=settings).fetch("MODEL_AND_TOKENIZER", ignore)


def visible(cache: Path) -> list[tuple[str, bytes]]:
    """Return all files that have their final names, wherever they are."""
    return [(path.rpartition("/")[2], content) for path, content in contents(cache).items()]


@pytest.mark.parametrize(
    ("name", "store"), [(name, store) for name, case in CASES.items() for store in STORES if store in case.outcome]
)
async def test_a_fault_ends_with_exact_bytes_or_a_typed_error(
    name: str, store: str, server: LocalS3, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Afterwards no incomplete file has its final name, and a fetch without the fault uses what there is."""
    case = CASES[name]
    with opened(store, server, monkeypatch, checksums=case.checksums) as (world, uri):
        case.arrange(world)
        outcome: type[DownloadError] | None = None
        try:
            result = await fetch(uri, case.stall_timeout_s)
        except DownloadError as error:
            outcome = type(error)
        else:
            assert contents(result.path) == world.files

        assert outcome in case.outcomes(store)
        assert {*visible(cache)} <= {*MODEL.items(), *world.files.items()}
        world.proxy.heal()
        if name == "removed":
            world.put(WEIGHTS, MODEL[WEIGHTS])
        again = await fetch(uri)
        assert contents(again.path) == world.files
        assert sum(world.proxy.sent[file] for file in MODEL) <= case.limit(store) * TOTAL
        assert (await fetch(uri)).bytes_fetched == 0


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.usefixtures("cache")
async def test_wherever_connections_are_cut_the_bytes_are_exact(
    seed: int,
    server: LocalS3,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    with opened("S3", server, monkeypatch, seed=seed) as (world, uri):
        CASES["cuts"].arrange(world)
        result = await fetch(uri)

        excess = sum(world.proxy.sent[file] for file in MODEL) / TOTAL - 1
        record_property(EXCESS, excess)
        assert contents(result.path) == MODEL
        assert excess <= 0.15


@pytest.mark.parametrize("store", STORES)
async def test_a_flipped_byte_that_nobody_could_notice_is_recorded_as_such(
    store: str, server: LocalS3, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has the store a checksum nor the file a header: the manifest says that only its size was compared."""
    with opened(store, server, monkeypatch, checksums=False) as (world, uri):
        world.proxy.misbehave(Fault("flip", 1000), OTHER)
        result = await fetch(uri)

        assert contents(result.path)[OTHER] != MODEL[OTHER]
        assert len(contents(result.path)[OTHER]) == len(MODEL[OTHER])
        assert read_manifest(result.path).files[OTHER].verified == RECORDED


async def test_the_table_in_the_readme_is_what_these_tests_assert() -> None:
    assert table() in README.read_text()
