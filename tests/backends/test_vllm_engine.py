"""vLLM itself, with a model that is made on the spot. A whole start takes half a minute, so tests share them."""

import asyncio
import gc
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from eventinit.backends.process_environment import process_environment
from eventinit.backends.vllm_engine import VLLMEngine
from eventinit.errors import EngineArgumentError, EngineError
from eventinit.ports import EngineRequest, RunningEngine
from tests.real_models import build_tiny_llama

# vLLM and its libraries warn about each other.
pytestmark = [pytest.mark.real, pytest.mark.asyncio, pytest.mark.filterwarnings("ignore")]

LONGEST_LAG_S = 1.5
VLLM_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """After every test no new process, temporary file or thread of ours is there, and the environment is as it was."""
    for name, value in VLLM_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # torch makes one wherever it is first imported
    resource_tracker.ensure_running()
    folder = Path(tempfile.mkdtemp(prefix="ei-", dir="/tmp"))  # a socket's path is short
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = descendants()
    yield
    gc.collect()  # vLLM leaves a context of zmq unclosed; here its warning is still ignored
    left = {
        "processes": descendants() - before,
        "files": sorted(path.name for path in folder.iterdir()),
        "threads": [thread.name for thread in threading.enumerate() if thread.name.startswith("eventinit")],
        "environment": (os.environ.get("TMPDIR"), tempfile.tempdir, os.environ.get("RAY_ADDRESS")),
    }
    shutil.rmtree(folder)
    assert left == {
        "processes": set[psutil.Process](),
        "files": [],
        "threads": [],
        "environment": (str(folder), str(folder), None),
    }


def descendants() -> set[psutil.Process]:
    """Return all processes below this one, also those that only wait to be reaped."""
    return set(psutil.Process().children(recursive=True))


def request(folder: Path, *, cluster_address: str | None = None, **arguments: Any) -> EngineRequest:
    tiny = {"model": str(folder), "max_model_len": 128, "enforce_eager": True, "dtype": "bfloat16"}
    return EngineRequest({**tiny, **arguments}, None, on_cluster=False, cluster_address=cluster_address, runtime_env={})


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not condition():  # noqa: ASYNC110 - what it waits for sets no event
            await anyio.sleep(0.01)


def core_boots() -> bool:
    return any(child.name.startswith("EngineCore") for child in multiprocessing.active_children())


def worker_boots() -> bool:
    return any(psutil.Process(child.pid).children() for child in multiprocessing.active_children())


async def answer(running: RunningEngine) -> str:
    sampling = __import__("vllm").SamplingParams(temperature=0, max_tokens=4, ignore_eos=True)
    text = ""
    async for output in running.engine.generate("the quick", sampling, "one"):
        text = output.outputs[0].text
    return text


@asynccontextmanager
async def heartbeat(record: Callable[[str, object], None], name: str) -> AsyncGenerator[None]:
    """Record how late the event loop was at worst, and fail where it was blocked."""
    lags = [0.0]

    async def beat() -> None:
        while True:
            before = time.monotonic()
            await anyio.sleep(0.01)
            lags.append(time.monotonic() - before - 0.01)

    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        yield
        tasks.cancel_scope.cancel()
    record(f"{name}_worst_lag_s", round(max(lags), 3))
    print(f"{name}: {time.monotonic() - began:.1f} s, worst lag {max(lags) * 1000:.0f} ms")
    assert max(lags) < LONGEST_LAG_S


async def test_the_argument_names_are_those_of_vllm(record_property: Callable[[str, object], None]) -> None:
    async with heartbeat(record_property, "import"):
        names = await VLLMEngine().argument_names()
    assert {"model", "max_model_len", "tensor_parallel_size", "enable_log_requests"} <= names


async def test_an_engine_starts_answers_and_stops(model: Path, record_property: Callable[[str, object], None]) -> None:
    """What it leaves is for the fixture to find. Stopping it twice is harmless."""
    async with heartbeat(record_property, "launch"):
        running = await VLLMEngine().launch(request(model, cluster_address="127.0.0.1:1", disable_log_stats=True))
    assert "RAY_ADDRESS" not in os.environ
    assert running.engine.log_stats is False
    assert await answer(running)
    async with heartbeat(record_property, "stop"):
        await running.stop(30)
    await running.stop(30)


async def test_an_argument_that_vllm_does_not_know_is_named_with_the_nearest(model: Path) -> None:
    with pytest.raises(EngineArgumentError, match="'max_modellen'; did you mean 'max_model_len'"):
        await VLLMEngine().launch(request(model, max_modellen=1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "float7"}, "dtype"),
        ({"max_model_len": 4096}, "max_model_len"),
        ({"tensor_parallel_size": "two"}, "tensor_parallel_size"),
        ({"model": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
async def test_a_value_that_vllm_refuses_is_named_in_few_words(
    model: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(EngineArgumentError) as caught:
        await VLLMEngine().launch(request(model, **arguments))
    text = str(caught.value).partition("): ")[2]
    assert words in text
    assert len(text) < 1000
    assert caught.value.__cause__ is not None


async def test_what_only_the_engine_core_refuses_is_an_engine_error(model: Path) -> None:
    with pytest.raises(EngineError, match="log above") as caught:
        await VLLMEngine().launch(request(model, worker_extension_cls="nowhere.at.All"))
    assert not isinstance(caught.value, EngineArgumentError)
    assert caught.value.__cause__ is not None


async def test_a_launch_that_waits_for_another_can_be_cancelled(model: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with process_environment({}):
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(60)
    try:
        with anyio.move_on_after(1) as scope:
            await VLLMEngine().launch(request(model))
        assert scope.cancelled_caught
        assert not leave.is_set()
    finally:
        leave.set()
        other.join()


async def test_a_launch_that_is_cancelled_before_its_processes_come_leaves_nothing(model: Path) -> None:
    folder = Path(tempfile.gettempdir())
    launch = asyncio.create_task(VLLMEngine().launch(request(model)))
    await until(lambda: any(folder.iterdir()))
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch


@pytest.mark.parametrize("moment", [core_boots, worker_boots])
async def test_a_launch_that_is_cancelled_while_its_processes_boot_leaves_nothing(
    model: Path, moment: Callable[[], bool]
) -> None:
    began = 0.0
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(VLLMEngine().launch, request(model))
            await until(moment)
            scope.cancel()
            began = time.monotonic()
    print(f"cancelled after {time.monotonic() - began:.2f} s")
    assert scope.cancelled_caught


async def test_the_death_of_the_engine_core_is_told(model: Path) -> None:
    """It starts in a process in which other starts were cancelled, and stop still tidies up."""
    running = await VLLMEngine().launch(request(model))
    with anyio.move_on_after(1.5) as still_alive:
        await running.wait_until_dead()
    assert still_alive.cancelled_caught
    (core,) = (child for child in multiprocessing.active_children() if child.name.startswith("EngineCore"))
    assert core.pid is not None
    os.kill(core.pid, signal.SIGKILL)
    with anyio.fail_after(60):
        reason = await running.wait_until_dead()
    assert f"process {core.pid}) was killed by signal 9" in reason
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        await running.stop(30)
