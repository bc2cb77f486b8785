"""Fetching from a store that fails in every way, and still the bytes are right or the error is typed."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from eventinit.downloads.line import Line
from eventinit.downloads.remote import RemoteFile
from eventinit.downloads.store_source import StoreSource
from eventinit.errors import (
    AccessDeniedError,
    ModelNotFoundError,
    ObjectChangedError,
    StalledError,
    StoreUnavailableError,
)
from eventinit.ports import DownloadResult, DownloadSettings, FetchProgress
from tests.downloads.conftest import Reports, contents
from tests.downloads.scripted_store import MIB, MODEL, Fault, Request, ScriptedStore, content, cut, ignore, weights

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("cache")]

TOTAL = sum(map(len, MODEL.values()))
QUICK = DownloadSettings(attempts=3)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventinit.downloads.reading.BACKOFF_S", 0.001)


async def fetch(*stores: ScriptedStore, settings: DownloadSettings = QUICK) -> DownloadResult:
    return await StoreSource(stores, settings).fetch("MODEL_AND_TOKENIZER", ignore)


@pytest.mark.parametrize("reads_ranges", [True, False])
@pytest.mark.parametrize("has_versions", [True, False])
async def test_the_model_comes_byte_for_byte(*, reads_ranges: bool, has_versions: bool, reports: Reports) -> None:
    store = ScriptedStore(MODEL, reads_ranges=reads_ranges, has_versions=has_versions)

    result = await StoreSource([store]).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert contents(result.path) == MODEL
    assert (result.files, result.bytes_total, result.bytes_fetched) == (len(MODEL), TOTAL, TOTAL)
    assert reports[0] == FetchProgress(0, TOTAL, 0, len(MODEL))
    assert reports[-1] == FetchProgress(TOTAL, TOTAL, len(MODEL), len(MODEL))
    assert reports.is_monotonic()
    assert store.served == TOTAL


async def test_no_more_requests_run_at_a_time_than_the_settings_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[object] = []
    most = 0
    store = ScriptedStore(MODEL, pace_s=0.001)
    copy = store.copy

    def counted(file: RemoteFile, start: int, end: int, write: Callable[[memoryview], object], line: Line) -> None:
        nonlocal most
        running.append(line)
        most = max(most, len(running))
        try:
            copy(file, start, end, write, line)
        finally:
            running.remove(line)

    monkeypatch.setattr(store, "copy", counted)
    await fetch(store, settings=DownloadSettings(max_concurrency=3))

    assert most == 3


async def test_the_small_files_come_first() -> None:
    store = ScriptedStore(MODEL)

    await fetch(store, settings=DownloadSettings(max_concurrency=1))

    order = list(dict.fromkeys(request.name for request in store.requests))
    assert order[-1] == "model.safetensors"


async def test_a_connection_that_breaks_again_and_again_is_continued_where_it_broke() -> None:
    """Each request for the large file ends after a while, which would exhaust the attempts if they all counted."""
    store = ScriptedStore(MODEL, script=lambda r: cut(after=2 * MIB) if r.name == "model.safetensors" else None)

    result = await fetch(store)

    assert contents(result.path) == MODEL
    assert store.served == result.bytes_fetched == TOTAL


@pytest.mark.parametrize("fault", [cut(), Fault(end=True), Fault(stall=True)], ids=["cut", "ended early", "stalled"])
async def test_a_failure_is_tried_again(fault: Fault) -> None:
    store = ScriptedStore(MODEL, script=lambda r: fault if r.number == 0 else None, stall_timeout_s=0.2)

    assert contents((await fetch(store)).path) == MODEL


async def test_a_store_that_asks_to_be_left_alone_is_left_alone() -> None:
    asked_at: list[float] = []

    def script(request: Request) -> Fault | None:
        if request.name != "config.json":
            return None
        asked_at.append(time.monotonic())
        busy = StoreUnavailableError("memory://model", "busy", retry_after_s=0.5)
        return Fault(error=busy) if request.number == 0 else None

    await fetch(ScriptedStore(MODEL, script=script))

    assert asked_at[1] - asked_at[0] >= 0.5


async def test_a_store_that_stays_down_is_named_with_the_file_and_its_own_answer() -> None:
    store = ScriptedStore(MODEL, script=lambda r: cut() if r.name == "config.json" else None)

    with pytest.raises(StoreUnavailableError, match=r"memory://model: config.json: the connection was cut") as caught:
        await fetch(store)

    assert isinstance(caught.value.__cause__, StoreUnavailableError)
    assert store.counts["config.json"] == QUICK.attempts


async def test_a_stall_says_how_long_which_file_and_from_where() -> None:
    store = ScriptedStore(
        MODEL,
        script=lambda r: Fault(MIB, stall=True) if r.name == "model.safetensors" else None,
        stall_timeout_s=0.2,
    )
    settings = DownloadSettings(attempts=1)

    with pytest.raises(
        StalledError, match=r"model.safetensors stalled: no byte came for .* s from memory://"
    ) as caught:
        await fetch(store, settings=settings)

    assert caught.value.file == "model.safetensors"
    assert caught.value.mirrors == ("memory://model",)
    assert caught.value.silent_s >= 0.2


async def test_a_refusal_is_not_tried_again() -> None:
    refusal = AccessDeniedError("memory://model", "no")
    store = ScriptedStore(MODEL, script=lambda r: Fault(error=refusal) if r.name == "medium.bin" else None)

    with pytest.raises(AccessDeniedError) as caught:
        await fetch(store)

    assert caught.value is refusal
    assert store.counts["medium.bin"] == 1


async def test_a_model_without_files_is_an_error() -> None:
    with pytest.raises(ModelNotFoundError):
        await fetch(ScriptedStore({}))


async def test_a_prefix_above_several_models_is_refused_before_anything_is_fetched() -> None:
    models = {f"org/{name}/{file}": data for name in "abcde" for file, data in MODEL.items()}
    store = ScriptedStore({**models, "README.md": b"ours"})

    with pytest.raises(ModelNotFoundError, match=r"in org/a, org/b, org/c and 2 more; .* memory://model/org/a$"):
        await fetch(store)
    assert store.served == 0

    result = await fetch(store, settings=DownloadSettings(include=("org/b/*",)))
    assert contents(result.path) == {f"org/b/{file}": data for file, data in MODEL.items()}


async def test_an_object_replaced_midway_is_an_error_and_never_a_mix(cache: Path) -> None:
    files = dict(MODEL)

    def replace(request: Request) -> None:
        if request.start >= 16 * MIB:
            files["model.safetensors"] = weights(99, 40 * MIB + 7)

    with pytest.raises(ObjectChangedError, match=r"model\.safetensors was replaced"):
        await fetch(ScriptedStore(files, script=replace))

    (folder,) = (cache / "memory").iterdir()
    assert "model.safetensors" not in contents(folder)


async def test_the_next_mirror_goes_on_where_the_first_stopped_if_both_have_the_same_checksum() -> None:
    first = ScriptedStore(
        MODEL, algorithm="sha256", script=lambda r: cut() if r.start >= 16 * MIB else None, has_versions=False
    )
    second = ScriptedStore(MODEL, algorithm="sha256", source="memory://mirror")

    result = await fetch(first, second, settings=DownloadSettings(attempts=2, max_concurrency=1))

    assert contents(result.path) == MODEL
    assert 0 < second.served < 30 * MIB
    assert result.bytes_fetched == first.served + second.served


async def test_the_next_mirror_begins_anew_when_nobody_knows_whether_it_has_the_same(reports: Reports) -> None:
    first = ScriptedStore(MODEL, script=lambda r: cut() if r.start >= 16 * MIB else None)
    second = ScriptedStore(MODEL, source="memory://mirror", identity="mirror")

    result = await StoreSource([first, second], QUICK).fetch("MODEL_AND_TOKENIZER", reports.append)

    assert contents(result.path) == MODEL
    assert second.served == len(MODEL["model.safetensors"])
    assert reports.is_monotonic()
    assert (await fetch(ScriptedStore(MODEL))).bytes_fetched == 0, "what a mirror sent counts as the first store's"


async def test_a_first_mirror_that_cannot_even_list_is_left_for_the_second() -> None:
    first = ScriptedStore(MODEL, list_error=StoreUnavailableError("memory://model", "down"))
    second = ScriptedStore(MODEL, source="memory://mirror")

    result = await fetch(first, second)

    assert contents(result.path) == MODEL
    assert first.requests == []


async def test_a_first_mirror_that_is_down_does_not_have_the_model_fetched_again() -> None:
    """The mirror's etags differ, as they do when a copy was uploaded in parts of another size."""
    first = ScriptedStore(MODEL)
    second = ScriptedStore(MODEL, source="memory://mirror", identity="mirror", version_prefix="other-")
    await fetch(first, second)
    first.list_error = StoreUnavailableError("memory://model", "down")

    result = await fetch(first, second)

    assert (result.bytes_fetched, second.served) == (0, 0)


async def test_when_every_mirror_fails_the_error_names_them_all() -> None:
    stores = [
        ScriptedStore(MODEL, source=f"memory://{name}", script=lambda r: cut() if r.name == "medium.bin" else None)
        for name in ("one", "two")
    ]

    with pytest.raises(StoreUnavailableError, match=r"medium.bin cannot be had.*memory://one.*memory://two"):
        await fetch(*stores)


async def test_a_mirror_with_another_size_of_the_file_is_not_taken() -> None:
    first = ScriptedStore(MODEL, script=lambda r: cut() if r.name == "medium.bin" else None)
    second = ScriptedStore({**MODEL, "medium.bin": content(9, MIB)}, source="memory://mirror")

    with pytest.raises(StoreUnavailableError, match=r"memory://mirror: has no medium.bin of the same size"):
        await fetch(first, second)


async def test_a_store_without_ranges_begins_anew_after_a_cut() -> None:
    store = ScriptedStore(
        MODEL, reads_ranges=False, script=lambda r: cut(after=10 * MIB) if r.name[0] == "m" and r.number == 0 else None
    )

    result = await fetch(store)

    assert contents(result.path) == MODEL
    assert {request.start for request in store.requests} == {0}


@pytest.mark.parametrize("fault", [cut(after=10 * MIB), Fault(10 * MIB, end=True)], ids=["cut", "ended early"])
async def test_a_store_without_ranges_that_always_ends_at_the_same_place_is_given_up(fault: Fault) -> None:
    """Each attempt brings bytes, and none brings more than the one before."""
    store = ScriptedStore(MODEL, reads_ranges=False, script=lambda r: fault if r.name == "model.safetensors" else None)

    with anyio.fail_after(60), pytest.raises(StoreUnavailableError, match=r"model\.safetensors"):
        await fetch(store)

    assert store.counts["model.safetensors"] == QUICK.attempts


async def test_a_file_that_vanished_from_the_store_is_removed() -> None:
    files = dict(MODEL)
    await fetch(ScriptedStore(files))
    del files["nested/deep/notes.txt"]

    result = await fetch(ScriptedStore(files))

    assert contents(result.path) == files


async def test_globs_choose_among_the_files_of_a_mode() -> None:
    settings = DownloadSettings(include=("*.json", "*.bin"), exclude=("medium*",))

    result = await fetch(ScriptedStore(MODEL), settings=settings)

    assert set(contents(result.path)) == {"config.json"}


async def test_a_cancelled_fetch_leaves_only_what_can_be_resumed(cache: Path) -> None:
    store = ScriptedStore(MODEL, pace_s=0.005)

    with anyio.CancelScope() as scope:
        await StoreSource([store]).fetch(
            "MODEL_AND_TOKENIZER", lambda p: scope.cancel() if p.bytes_done > TOTAL // 2 else None
        )

    assert scope.cancelled_caught
    (folder,) = (cache / "memory").iterdir()
    assert contents(folder).items() < MODEL.items()
    rest = await fetch(store)
    assert contents(rest.path) == MODEL
    assert rest.bytes_fetched < TOTAL * 0.65


async def test_an_error_of_the_report_function_comes_out_as_it_is() -> None:
    def fail(progress: FetchProgress) -> None:
        if progress.files_done:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await StoreSource([ScriptedStore(MODEL)]).fetch("MODEL_AND_TOKENIZER", fail)


async def test_ten_thousand_files_and_a_second_look_at_them() -> None:
    files = {f"{n % 7}/{n}.json": b"%d" % n for n in range(10_000)}

    first = await fetch(ScriptedStore(files))
    store = ScriptedStore(files)
    second = await fetch(store)

    assert contents(first.path) == files
    assert (second.bytes_fetched, store.requests) == (0, [])


async def test_waiting_grows_and_is_never_the_same() -> None:
    from eventinit.downloads.reading import LONGEST_BACKOFF_S, backoff_s

    waits = [[backoff_s(failures) for _ in range(50)] for failures in (1, 4, 30)]

    assert all(len(set(some)) > 1 for some in waits)
    assert all(max(a) < max(b) for a, b in itertools.pairwise(waits))
    assert max(waits[-1]) <= LONGEST_BACKOFF_S
