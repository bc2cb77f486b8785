"""The downloads of the other nodes of the group: at the same time, told here, and ended with the start."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from trio.testing import MockClock

from eventinit import EventBus, LLMConfig, NodeInitializationContext, handles, initialize_node
from eventinit.errors import (
    ConfigError,
    ContextSealedError,
    DottedPathError,
    HandlerError,
    ModelPathError,
    NodeFetchError,
    PhaseTimeoutError,
)
from eventinit.events import (
    DownloadProgress,
    NodeDownloadEvent,
    PostNodeDownload,
    PreDownload,
    PreEngineInit,
    PreNodeDownload,
)
from eventinit.testing import Fakes, FakeSource

pytestmark = pytest.mark.anyio
VIRTUAL = pytest.mark.parametrize(
    "anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual clock"]
)
HERE = "tests.start.test_node_downloads:"


class Callback:
    """A callback of which all fake nodes share one instance, since they are one process."""

    seen: ClassVar[list[tuple[str, NodeInitializationContext]]] = []

    def on_pre_node_download(self, ctx: NodeInitializationContext) -> None:
        self.seen.append(("pre", ctx))

    async def on_post_node_download(self, ctx: NodeInitializationContext) -> None:
        self.seen.append(("post", ctx))


class Failing(Callback):
    def on_pre_node_download(self, ctx: NodeInitializationContext) -> None:
        raise OSError("no")


class Handler:
    seen: ClassVar[list[NodeDownloadEvent]] = []

    @handles(NodeDownloadEvent)
    def note(self, event: NodeDownloadEvent) -> None:
        self.seen.append(event)


class Writer:
    @handles(PreNodeDownload)
    def write(self, event: PreNodeDownload) -> None:
        if event.node_id == "node-1":
            event.context.custom_data["mine"] = 1


class OnlyOnThisNode:
    """Handles nothing of other nodes, and has an argument that cannot travel."""

    def __init__(self, lock: object) -> None:
        self.lock = lock

    def on_pre_download(self, ctx: NodeInitializationContext) -> None:
        ctx.custom_data["lock"] = self.lock


@pytest.fixture(autouse=True)
def nothing_seen_yet() -> Iterator[None]:
    yield
    Callback.seen.clear()
    Handler.seen.clear()


@pytest.fixture
def fakes() -> Fakes:
    """Three nodes, and a group that is on all of them."""
    fakes = Fakes()
    fakes.cluster.resources = [{"CPU": 1.0}] * 3
    fakes.cluster.group_nodes = ["node-0", "node-1", "node-2"]
    return fakes


def config(**fields: Any) -> LLMConfig:
    return LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": 3}, **fields)


async def start(fakes: Fakes, config: LLMConfig, bus: EventBus | None = None) -> None:
    """Start a node and end it."""
    async with initialize_node(config, bus=bus, backends=fakes.backends()):
        pass


@VIRTUAL
async def test_all_nodes_fetch_at_the_same_time_and_tell_how_far_each_is(bus: EventBus, fakes: Fakes) -> None:
    fakes.source.seconds = fakes.cluster.source.seconds = 100.0
    fakes.cluster.sources["node-2"] = FakeSource(files=10_000, seconds=100.0)
    told: dict[str, list[DownloadProgress]] = {}
    bus.on(DownloadProgress, lambda event: told.setdefault(event.node_id, []).append(event))
    began = anyio.current_time()
    await start(fakes, config(), bus)
    assert anyio.current_time() - began == pytest.approx(100.0, abs=1)
    assert set(told) == {"", "node-1", "node-2"}
    assert [event.bytes_done for event in told["node-1"]] == [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]
    assert told["node-2"][-1].files_done == 10_000
    assert len(told["node-2"]) <= 1002, "at most ten a second"


@VIRTUAL
async def test_a_download_that_takes_too_long_says_how_far_each_node_is(fakes: Fakes) -> None:
    """What has fetched everything is not named."""
    for name, seconds in {"node-1": 200.0, "node-2": 400.0}.items():
        fakes.cluster.sources[name] = FakeSource(seconds=seconds)
    with pytest.raises(PhaseTimeoutError) as caught:
        await start(fakes, config(download_timeout_s=150.0))
    assert caught.value.last_known == "1 of 4 MB fetched on node node-2, 2 of 4 MB fetched on node node-1"


@VIRTUAL
async def test_the_progress_of_many_nodes_is_told_a_hundred_times_a_second_in_all(bus: EventBus) -> None:
    """Each node tells it less often, and its end in any case."""
    nodes, seconds = 50, 20.0
    fakes = Fakes()
    fakes.cluster.resources = [{"CPU": 1.0}] * (nodes + 1)
    fakes.cluster.group_nodes = [f"node-{number}" for number in range(nodes + 1)]
    fakes.cluster.source = FakeSource(files=200, seconds=seconds)
    under_way, ended = 0, set[str]()

    @bus.on(DownloadProgress, where=lambda event: event.node_id)
    async def count(event: DownloadProgress) -> None:
        nonlocal under_way
        under_way += 0 < event.files_done < event.files_total
        if event.files_done == event.files_total:
            ended.add(event.node_id)

    await start(fakes, LLMConfig(model_id="tiny", engine_kwargs={"tensor_parallel_size": nodes + 1}), bus)
    assert 0.9 * 100 * seconds < under_way <= 100 * seconds
    assert len(ended) == nodes


@VIRTUAL
async def test_a_handler_that_is_slow_with_progress_gets_the_newest(bus: EventBus, fakes: Fakes) -> None:
    """What it has no time for is dropped rather than kept waiting."""
    fakes.cluster.sources["node-1"] = FakeSource(files=1000, seconds=100.0)
    seen: list[int] = []

    @bus.on(DownloadProgress, where=lambda event: event.node_id == "node-1")
    async def slow(event: DownloadProgress) -> None:
        seen.append(event.files_done)
        await anyio.sleep(50)

    began = anyio.current_time()
    await start(fakes, config(), bus)
    assert seen == [0, pytest.approx(500, abs=5), 1000]
    assert anyio.current_time() - began == pytest.approx(150, abs=1)


@pytest.mark.parametrize("as_path", [True, False], ids=["by path", "the class itself"])
async def test_what_the_configuration_names_handles_the_download_of_every_node(
    bus: EventBus, fakes: Fakes, *, as_path: bool
) -> None:
    """A handler that exists only in this process gets what happens on this node."""
    here: list[NodeDownloadEvent] = []
    bus.on(NodeDownloadEvent, here.append)
    callback = HERE + "Callback" if as_path else Callback
    settings: dict[str, Any] = {"callback_class": callback, "handlers": [HERE + "Handler"]}
    await start(fakes, config(**settings, worker_node_download_model="EXCLUDE_SAFETENSORS"), bus)
    other = ("EXCLUDE_SAFETENSORS", False)
    expected = {"": ("MODEL_AND_TOKENIZER", True), "node-1": other, "node-2": other}
    for kind in (PreNodeDownload, PostNodeDownload):
        events = [event for event in Handler.seen if type(event) is kind]
        assert {event.node_id: (event.mode, event.is_local) for event in events} == expected
        assert len(events) == 3
    assert [type(event) for event in here] == [PreNodeDownload, PostNodeDownload]
    assert all(event.is_local for event in here)
    assert sorted(when for when, _ in Callback.seen) == ["post"] * 3 + ["pre"] * 3


async def test_a_node_gets_a_read_only_copy_of_the_context_without_what_cannot_travel(
    bus: EventBus, fakes: Fakes, caplog: pytest.LogCaptureFixture
) -> None:
    @bus.on(PreDownload)
    def fill(event: PreDownload) -> None:
        event.context.custom_data = {"note": ["for all"], "lock": threading.Lock()}
        event.context.extra_init_kwargs["max_model_len"] = 64

    with caplog.at_level(logging.WARNING):
        await start(fakes, config(callback_class=Callback, runtime_env={"env_vars": {"A": "1"}}), bus)
    contexts = [ctx for when, ctx in Callback.seen if when == "pre" and "lock" not in ctx.custom_data]
    assert len(contexts) == 2, "the two other nodes"
    for ctx in contexts:
        assert ctx.llm_config.model_id == "tiny"
        assert ctx.custom_data == {"note": ["for all"]}
        assert ctx.extra_init_kwargs["max_model_len"] == 64
        assert ctx.runtime_env == {"env_vars": {"A": "1"}}
        assert ctx.worker_node_download_model == "MODEL_AND_TOKENIZER"
    for _, ctx in Callback.seen:
        with pytest.raises(ContextSealedError, match="PreDownload or before"):
            ctx.custom_data["mine"] = 1
    [warning] = [record for record in caplog.records if "left_behind" in record.getMessage()]
    assert warning.__dict__["eventinit_field"] == "custom_data.lock"


async def test_a_handler_that_fails_on_another_node_fails_the_start(fakes: Fakes) -> None:
    fakes.cluster.sources["node-2"] = FakeSource(seconds=3600.0)
    with pytest.raises(
        HandlerError, match=r"Writer\.write failed on PreNodeDownload .*on node node-1: Contex"
    ) as caught:
        await start(fakes, config(handlers=[HERE + "Writer"]))
    assert caught.value.node_id == "node-1"
    assert fakes.left_behind() == []


async def test_a_callback_whose_failures_are_logged_does_not_stop_a_node(fakes: Fakes) -> None:
    await start(fakes, config(callback_class=Failing, raise_error_on_callback=False))
    assert len(fakes.cluster.fetched_on) == 2
    assert [when for when, _ in Callback.seen] == ["post"] * 3


async def test_a_callback_class_that_other_nodes_cannot_import_is_refused_with_the_remedy(fakes: Fakes) -> None:
    class Local:
        def on_pre_node_download(self, ctx: NodeInitializationContext) -> None:
            pass

    with pytest.raises(DottedPathError, match=r"<locals>\.Local.*other nodes cannot import it.*runtime_env"):
        await start(fakes, config(callback_class=Local))
    fakes.cluster.group_nodes = ["node-0"]
    await start(fakes, config(callback_class=Local))


async def test_a_configuration_that_cannot_be_pickled_is_refused_only_if_it_has_to_travel(fakes: Fakes) -> None:
    settings: dict[str, Any] = {"callback_class": OnlyOnThisNode, "callback_kwargs": {"lock": threading.Lock()}}
    await start(fakes, config(**settings))
    assert len(fakes.cluster.fetched_on) == 2
    with pytest.raises(ConfigError, match="cannot be sent to the nodes"):
        await start(fakes, config(**settings, handlers=[HERE + "Handler"]))


@VIRTUAL
async def test_a_node_that_fails_ends_the_fetches_of_all(fakes: Fakes) -> None:
    fakes.source.seconds = fakes.cluster.source.seconds = 3600.0
    fakes.cluster.sources["node-2"] = FakeSource(seconds=10.0, fails_with=NodeFetchError("node-2", "it has gone"))
    began = anyio.current_time()
    with pytest.raises(NodeFetchError, match="node node-2: it has gone"):
        await start(fakes, config())
    assert anyio.current_time() - began < 60
    assert sorted(node for node, _ in fakes.cluster.stopped_on) == ["node-1", "node-2"]
    assert fakes.left_behind() == []


@VIRTUAL
async def test_a_cancelled_start_ends_the_fetches_of_all_nodes(bus: EventBus, fakes: Fakes) -> None:
    fakes.cluster.source.seconds = 3600.0
    with anyio.CancelScope() as scope:

        @bus.on(DownloadProgress, where=lambda event: event.node_id == "node-1" and event.bytes_done > 0)
        def cancel(_event: DownloadProgress) -> None:
            scope.cancel()

        await start(fakes, config(), bus)
    assert scope.cancelled_caught
    assert sorted(node for node, _ in fakes.cluster.stopped_on) == ["node-1", "node-2"]
    assert fakes.cluster.fetched_on == []
    assert fakes.left_behind() == []


async def test_a_model_under_another_path_on_another_node_is_refused_before_the_engine_starts(
    bus: EventBus, fakes: Fakes
) -> None:
    fakes.cluster.sources["node-2"] = FakeSource(path=Path("/elsewhere/model"))
    with pytest.raises(
        ModelPathError, match=r"/nowhere/fake-model on this node.*/elsewhere/model on node node-2.*CACHE"
    ):
        await start(fakes, config())
    assert fakes.engine.engines == []

    @bus.on(PreEngineInit)
    def it_is_in_the_image(event: PreEngineInit) -> None:
        event.context.extra_init_kwargs["model"] = "/image/model"

    await start(fakes, config(), bus)
    assert len(fakes.engine.engines) == 1
