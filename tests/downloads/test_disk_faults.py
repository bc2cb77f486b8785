"""Disks that fill up, have a quota or refuse, while a real store sends a model to them."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
import pytest

from eventinit.downloads import open_source
from eventinit.errors import DownloadError
from eventinit.ports import DownloadResult
from examples.local_s3 import LocalS3
from tests.downloads.children import ROOT
from tests.downloads.conftest import contents
from tests.downloads.fault_cases import (
    FILLED,
    MIB,
    MODEL,
    NO_ACCESS,
    NO_FOLDER,
    QUOTA,
    READ_ONLY,
    TOTAL,
    WEIGHTS,
    DiskCase,
)
from tests.downloads.scripted_store import ignore
from tests.servers.proxy import Fault, Proxy, misbehaving_proxy

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

_QUOTA = """
import asyncio, resource, sys
from eventinit.downloads import open_source
from eventinit.errors import DownloadError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    asyncio.run(open_source(sys.argv[1]).fetch("MODEL_AND_TOKENIZER", lambda _: None))
except DownloadError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def uri(upload: Callable[[dict[str, bytes]], str]) -> str:
    return upload(dict(MODEL))


@pytest.fixture
def proxy(uri: str, s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Generator[Proxy]:
    """The proxy before the server, which the environment names."""
    with misbehaving_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


@contextmanager
def disk(folder: Path, size: str) -> Generator[None]:
    """Mount a small disk of its own, where that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def fetch(uri: str) -> DownloadResult:
    return await open_source(uri).fetch("MODEL_AND_TOKENIZER", ignore)


def sent(proxy: Proxy) -> int:
    return sum(proxy.sent[name] for name in MODEL)


@contextmanager
def refused(case: DiskCase, problem: str) -> Generator[None]:
    """Expect the very error of the table."""
    with pytest.raises(DownloadError, match=problem) as caught:
        yield
    assert type(caught.value) is case.outcome


async def test_a_disk_that_somebody_else_fills_meanwhile_is_told_and_what_came_is_used(
    uri: str, proxy: Proxy, cache: Path
) -> None:
    """There is room when the fetch begins; the other writes when the weights are asked for."""
    filler = cache / "filler"
    proxy.misbehave(Fault("call", action=lambda: filler.write_bytes(bytes(12 * MIB))), WEIGHTS, times=1)
    with disk(cache, "32m"):
        with refused(FILLED, "set EVENTINIT_CACHE to a larger disk"):
            await fetch(uri)
        assert {path.rpartition("/")[2] for path in contents(cache)} <= {"filler", *MODEL.keys() - {WEIGHTS}}

        filler.unlink()
        result = await fetch(uri)
        assert contents(result.path) == MODEL
        assert result.bytes_fetched < TOTAL
    assert sent(proxy) <= FILLED.most * TOTAL


async def test_a_file_larger_than_the_quota_is_told_and_what_came_is_used(uri: str, proxy: Proxy) -> None:
    command = [sys.executable, "-c", _QUOTA, uri, str(8 * MIB)]
    child = await anyio.run_process(command, cwd=ROOT)

    assert child.stdout.decode().startswith(f"{QUOTA.outcome.__name__} ")
    assert b"File too large" in child.stdout
    result = await fetch(uri)
    assert contents(result.path) == MODEL
    assert result.bytes_fetched < TOTAL
    assert sent(proxy) <= QUOTA.most * TOTAL


async def refuses_at_first(
    uri: str, proxy: Proxy, case: DiskCase, obstacle: AbstractContextManager[None], problem: str
) -> None:
    """Fetch while the obstacle is there, for which no byte may be sent, and again without it."""
    with obstacle, refused(case, problem):
        await fetch(uri)
    assert sent(proxy) == 0

    assert contents((await fetch(uri)).path) == MODEL
    assert sent(proxy) <= case.most * TOTAL


@contextmanager
def read_only(folder: Path) -> Generator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def without_permission(folder: Path) -> Generator[None]:
    folder.mkdir(mode=0o555)
    yield
    folder.chmod(0o755)


@contextmanager
def occupied(folder: Path) -> Generator[None]:
    folder.write_text("")
    yield
    folder.unlink()


async def test_a_disk_that_is_mounted_for_reading_is_told_before_a_byte_is_sent(
    uri: str, proxy: Proxy, cache: Path
) -> None:
    with disk(cache, "64m"):
        problem = "Read-only file system; make it writable, or set EVENTINIT_CACHE"
        await refuses_at_first(uri, proxy, READ_ONLY, read_only(cache), problem)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_told_before_a_byte_is_sent(
    uri: str, proxy: Proxy, cache: Path
) -> None:
    problem = "Permission denied; make it writable, or set EVENTINIT_CACHE"
    await refuses_at_first(uri, proxy, NO_ACCESS, without_permission(cache), problem)


async def test_a_file_in_the_place_of_the_folder_is_told_before_a_byte_is_sent(
    uri: str, proxy: Proxy, cache: Path
) -> None:
    problem = "set EVENTINIT_CACHE to another folder"
    await refuses_at_first(uri, proxy, NO_FOLDER, occupied(cache), problem)
