"""A node that receives a model's files from a peer: exact bytes, as if from the store, which is not asked."""

import asyncio
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from eventinit.downloads.manifest import read_manifest
from eventinit.downloads.peer_store import Chunk, Offer, Wait
from eventinit.downloads.shared_folder import SharedFolder
from eventinit.downloads.store_source import StoreSource
from eventinit.errors import AccessDeniedError, ModelNotFoundError, StalledError
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings
from tests.downloads.conftest import contents
from tests.downloads.scripted_store import MIB, MODEL, Fault, ScriptedStore, content, ignore

pytestmark = [pytest.mark.asyncio]

T = TypeVar("T")

TOTAL = sum(map(len, MODEL.values()))
QUICK = DownloadSettings(attempts=2)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventinit.downloads.reading.BACKOFF_S", 0.001)


def done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future


@dataclass
class FolderPeer:
    """Shares a folder of this process.

    Attributes:
        budget_bytes: How much is kept.
        script: Called with the number of each request for a chunk, counted from 0; what it returns is waited for.
    """

    folder: Path
    budget_bytes: int = 400 * MIB
    script: Callable[[int], Future[Any] | None] = lambda _: None
    requests: int = 0
    put: list[int] = field(default_factory=list[int])
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.shared = SharedFolder(self.folder, self._put, self.budget_bytes)

    def _put(self, data: bytes) -> bytes:
        self.put.append(len(data))
        return data

    def offer(self, wait: Wait) -> Offer:
        return wait(done(self.shared.offer()))

    def chunk(self, name: str, index: int, wait: Wait) -> Chunk:
        with self._guard:
            number, self.requests = self.requests, self.requests + 1
            wait_for = self.script(number)
            data, crc = self.shared.chunk(name, index)
        wait(wait_for or done(None))
        return Chunk(memoryview(data), crc)


@pytest.fixture
def in_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Go on with the cache of another node."""
    return lambda node: monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / node))


@pytest_asyncio.fixture
async def seed(in_cache: Callable[[str], None]) -> Path:
    """The folder of a node that has fetched the model; the cache is that of a second node from then on."""
    in_cache("seed")
    folder = (await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    in_cache("receiver")
    return folder


async def receive(
    peer: FolderPeer,
    store: ScriptedStore,
    mode: DownloadMode = "MODEL_AND_TOKENIZER",
    settings: DownloadSettings = QUICK,
) -> DownloadResult:
    return await StoreSource([store], settings, peer).fetch(mode, ignore)


def broken(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


async def test_a_peer_gives_every_byte_and_the_store_is_not_asked(seed: Path) -> None:
    """A later start that asks the store finds everything there, and the record claims no checks of its own."""
    store = ScriptedStore(MODEL)

    result = await receive(FolderPeer(seed), store)

    assert contents(result.path) == MODEL
    assert result.path != seed
    assert (result.source, result.bytes_fetched, store.requests) == (store.source, TOTAL, [])
    assert (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).bytes_fetched == 0
    assert {file.verified for file in read_manifest(result.path).files.values()} == {"size only"}


async def test_what_the_store_says_of_a_file_is_checked_where_it_is_received(
    in_cache: Callable[[str], None],
) -> None:
    in_cache("seed")
    store = ScriptedStore(MODEL, algorithm="md5")
    seed = (await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)).path
    in_cache("receiver")

    result = await receive(FolderPeer(seed), store)

    assert {file.verified for file in read_manifest(result.path).files.values()} == {"md5"}


async def test_a_node_that_sees_the_same_folder_receives_nothing(seed: Path, in_cache: Callable[[str], None]) -> None:
    in_cache("seed")
    peer = FolderPeer(seed)
    result = await receive(peer, ScriptedStore(MODEL))
    assert (result.path, result.bytes_fetched, peer.requests) == (seed, 0, 0)


async def test_the_store_gives_only_what_a_peer_that_died_had_not_given(seed: Path) -> None:
    store = ScriptedStore(MODEL)
    died = ConnectionError("the actor died")
    peer = FolderPeer(seed, 20 * MIB, script=lambda number: broken(died) if number > 5 else None)

    result = await receive(peer, store, settings=DownloadSettings(attempts=2, max_concurrency=1))

    assert contents(result.path) == MODEL
    assert 0 < store.served < TOTAL
    assert result.bytes_fetched == TOTAL


async def test_a_peer_that_is_gone_from_the_beginning_leaves_all_to_the_store(seed: Path) -> None:
    class Gone(FolderPeer):
        def offer(self, wait: Wait) -> Offer:
            offer: Offer = wait(broken(ConnectionError("the actor died")))
            return offer

    store = ScriptedStore(MODEL)
    assert contents((await receive(Gone(seed), store)).path) == MODEL
    assert store.served == TOTAL


async def test_a_chunk_that_was_damaged_on_its_way_is_asked_for_again(seed: Path) -> None:
    class Damaging(FolderPeer):
        def chunk(self, name: str, index: int, wait: Wait) -> Chunk:
            chunk = super().chunk(name, index, wait)
            if self.requests > 1:
                return chunk
            return Chunk(memoryview(bytes(chunk.data.nbytes)), chunk.crc)

    peer, store = Damaging(seed), ScriptedStore(MODEL)
    assert contents((await receive(peer, store)).path) == MODEL
    assert store.requests == []


async def test_a_peer_that_says_nothing_counts_as_silent(seed: Path) -> None:
    """So does the store here: the error says that nothing came, from either."""
    peer = FolderPeer(seed, script=lambda _: Future())
    settings = DownloadSettings(attempts=1, stall_timeout_s=0.05)
    silent = ScriptedStore(MODEL, stall_timeout_s=0.05, script=lambda _: Fault(stall=True))
    with pytest.raises(StalledError):
        await receive(peer, silent, settings=settings)


async def test_a_cancelled_fetch_waits_no_longer_for_its_peer(seed: Path) -> None:
    """The stall timeout is half a minute."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def never(_: int) -> Future[Any]:
        loop.call_soon_threadsafe(asked.set)
        return Future()

    fetch = asyncio.create_task(receive(FolderPeer(seed, script=never), ScriptedStore(MODEL)))
    await asked.wait()
    fetch.cancel()
    ended, _ = await asyncio.wait([fetch], timeout=10)
    assert ended
    assert fetch.cancelled()


async def test_what_a_peer_never_fetched_stays_where_it_is(seed: Path, in_cache: Callable[[str], None]) -> None:
    """A peer lists only its own files, and a node may have more of the model from before."""
    store = ScriptedStore(MODEL)
    complete = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)
    in_cache("small seed")
    small = await StoreSource([store]).fetch("TOKENIZER_ONLY", ignore)
    in_cache("receiver")

    await receive(FolderPeer(small.path), store, "TOKENIZER_ONLY")

    assert contents(complete.path) == MODEL
    again = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", ignore)
    assert again.bytes_fetched == 0


async def test_what_is_left_of_an_earlier_fetch_stays_when_a_peer_has_less(
    seed: Path, in_cache: Callable[[str], None]
) -> None:
    refusing = ScriptedStore(
        MODEL, script=lambda request: Fault(error=AccessDeniedError("memory://model", "no")) if request.start else None
    )
    with pytest.raises(AccessDeniedError):
        await StoreSource([refusing], DownloadSettings(max_concurrency=1)).fetch("MODEL_AND_TOKENIZER", ignore)
    in_cache("small seed")
    small = await StoreSource([ScriptedStore(MODEL)]).fetch("TOKENIZER_ONLY", ignore)
    in_cache("receiver")

    await receive(FolderPeer(small.path), ScriptedStore(MODEL), "TOKENIZER_ONLY")

    rest = await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", ignore)
    assert contents(rest.path) == MODEL
    assert rest.bytes_fetched == len(MODEL["model.safetensors"]) - 16 * MIB


async def test_receivers_that_go_along_together_cause_one_read_and_the_room_is_bounded(seed: Path) -> None:
    name = "model.safetensors"
    shared, kept = SharedFolder(seed, bytes, 32 * MIB), list[bytes]()
    size = shared.offer().chunk_bytes
    assert size == 4 * MIB
    last = (len(MODEL[name]) - 1) // size
    for index in range(last + 1):
        (mine, crc), (yours, _) = shared.chunk(name, index), shared.chunk(name, index)
        assert mine is yours
        assert zlib.crc32(mine) == crc
        kept.append(mine)
    assert b"".join(kept) == MODEL[name]
    still = [shared.chunk(name, index)[0] is kept[index] for index in range(last, -1, -1)]
    assert sum(still) == still.index(False) == 8


async def test_only_complete_files_are_given(seed: Path) -> None:
    (seed / "secret.txt").write_text("not of the model")
    shared = SharedFolder(seed, bytes, 32 * MIB)
    for name, index in [("secret.txt", 0), ("../x", 0), ("config.json", 1), ("config.json", -1)]:
        with pytest.raises(ModelNotFoundError, match="to share"):
            shared.chunk(name, index)


async def test_a_file_that_was_changed_on_the_peer_comes_from_the_store(seed: Path) -> None:
    store, peer = ScriptedStore(MODEL), FolderPeer(seed)
    (seed / "medium.bin").write_bytes(content(9, len(MODEL["medium.bin"])))
    assert contents((await receive(peer, store)).path) == MODEL
    assert {request.name for request in store.requests} == {"medium.bin"}
