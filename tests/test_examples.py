"""Every example runs as a user runs it: as a program of its own, from the project's folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventinit import LLMConfig
from eventinit.errors import StoreUnavailableError
from eventinit.testing import Fakes, FakeSource
from examples.service import serve

PROJECT = Path(__file__).resolve().parent.parent


def run(*command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EVENTINIT_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def output_of(*command: str, timeout_s: float = 60.0) -> str:
    ended = run(*command, timeout_s=timeout_s)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def in_order(text: str, *parts: str) -> None:
    """Assert that the parts occur in the text one after another."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is not there, or not in its place, in:\n{text}"
        at = found + len(part)


@pytest.fixture(scope="module")
def patterns() -> dict[str, str]:
    """What ``patterns.py`` prints about each of its patterns, and its last line under the name ``end``."""
    text = output_of("examples/patterns.py", timeout_s=20.0)
    parts = re.split(r"^Pattern \d: (\w+)$", text, flags=re.MULTILINE)
    return {**dict(zip(parts[1::2], parts[2::2], strict=True)), "end": text.splitlines()[-1]}


@pytest.fixture(scope="module")
def tour() -> str:
    return output_of("examples/bus.py")


def stop(tour: str, beginning: str) -> str:
    """Return what ``bus.py`` prints below the stop whose line begins so."""
    found = re.search(rf"^\d+\. {re.escape(beginning)}.*\n((?:.+\n)+)", tour, re.MULTILINE)
    assert found, tour
    return found[1]


def test_patterns_shows_all_five_and_how_long_they_took(patterns: dict[str, str]) -> None:
    assert len(patterns) == 6
    assert re.fullmatch(r"5 nodes started and stopped in \d+\.\d\d s", patterns["end"])


def test_patterns_changes_one_thing(patterns: dict[str, str]) -> None:
    in_order(
        patterns["FetchLessHere"],
        "changed    local_node_download_model: 'MODEL_AND_TOKENIZER' -> 'TOKENIZER_ONLY'",
        "vetoed     nothing",
        "fetched    TOKENIZER_ONLY on node-0, MODEL_AND_TOKENIZER on node-1",
    )


def test_patterns_measures_a_start(patterns: dict[str, str]) -> None:
    in_order(patterns["Stopwatch"], "the start took", "fetched    MODEL_AND_TOKENIZER on node-0")


def test_patterns_replaces_one_step(patterns: dict[str, str]) -> None:
    in_order(
        patterns["OwnPlacementGroup"],
        "placement_group vetoed",
        "vetoed     placement_group",
        "reserved   nothing",
        "group      [{'GPU': 2.0}], left to its owner",
    )


def test_patterns_adds_engine_arguments(patterns: dict[str, str]) -> None:
    in_order(
        patterns["FourGPUs"],
        "placement_group_replaced workers=4",
        "changed    extra_init_kwargs.gpu_memory_utilization: absent -> 0.95",
        "reserved   1 bundle(s), 4 bundle(s)",
        "gpu_memory_utilization=0.95, tensor_parallel_size=4",
        ", removed",
        "left over  nothing",
    )


def test_patterns_replaces_everything(patterns: dict[str, str]) -> None:
    in_order(
        patterns["BringEverything"],
        "initialization vetoed",
        "engine_init completed",
        "vetoed     initialization",
        "fetched    nothing",
        "reserved   nothing",
        "engine     model=/models/in-the-image, served_model_name=demo, max_model_len=4096",
        "left to its owner",
    )


def test_bus_shows_handlers_their_vetoes_and_their_options(tour: str) -> None:
    in_order(
        stop(tour, "Handlers run one after"),
        "first: reserve lamp",
        "second: pack 2 x lamp",
        "third: a handler of a base",
    )
    in_order(
        stop(tour, "A handler may veto"),
        "1 x lamp: vetoed=False",
        "4 x lamp: vetoed=True [stock: only 3 of lamp left]",
        "9 x moon: vetoed=True [stock: only 3 of moon left] [price: no reason given]",
    )
    in_order(
        stop(tour, "A handler may run once"),
        "once: ",
        "printed in another thread",
        "where: 2 at once",
        "another thread",
    )
    assert stop(tour, "A handler may run once").count("once: ") == 1


def test_bus_shows_what_becomes_of_failures(tour: str) -> None:
    in_order(
        stop(tour, "What a handler raises"),
        "log: eventinit.handler_failed handler=newsletter",
        "pack lamp, though payment has failed",
        "emit raised HandlerError: payment failed on Order: TimeoutError: took longer than its timeout of 0.01 s",
    )
    in_order(
        stop(tour, "Each observer"),
        "the slow one has taken 0",
        "alarm: an observer of Shipped failed 3 times in a row with RuntimeError",
        "the slow one has taken 4",
        "slow: live after 4 events, 0 failures",
        "broken: set aside after 3 events, 3 failures",
    )


def test_bus_shows_the_ways_to_subscribe_and_to_wait(tour: str) -> None:
    assert stop(tour, "A subscription").splitlines() == ["pack lamp", "pack desk"]
    in_order(stop(tour, "The marked methods"), "vetoed: True", "vetoed after detaching: False", "observed: lamp\n")
    assert stop(tour, "A stream").splitlines() == ["shipped: lamp", "shipped: desk", "the stream has ended"]
    in_order(stop(tour, "wait_for"), "it came: Shipped(item='desk')", "EventTimeoutError: no Order came within 0.01 s")
    in_order(stop(tour, "A handler may emit"), "order of a lamp", "the lamp is on its way", "the order goes on")
    in_order(stop(tour, "Each event class"), "a plain receiver got lamp, from the bus: True")
    assert "desk" not in stop(tour, "Each event class")


def test_bus_shows_who_is_there_and_what_a_test_sees(tour: str) -> None:
    rows = [line.split() for line in stop(tour, "subscribers() tells").splitlines()[-3:]]
    assert [(row[0], row[-5:]) for row in rows] == [
        ("handler", ["5", "2", "1", "0", "0"]),
        ("stream", ["0", "0", "0", "1", "0"]),
        ("observer", ["0", "3", "0", "0", "0"]),
    ]
    in_order(stop(tour, "The test kit"), "3 events; shipped: lamp; vetoes: shop: not for sale")


def test_bus_is_the_same_on_trio(tour: str) -> None:
    assert output_of("examples/bus.py", "--trio") == tour


def test_callback_runs_the_class_that_the_yaml_names() -> None:
    in_order(
        output_of("examples/callback.py"),
        "on_pre_download: no /models/smollm2 here",
        "on_post_download: 4 files, 4000000 bytes",
        "on_pre_engine_init: max_model_len is 1024",
        "extra_init_kwargs.max_model_len was set by SiteRules.on_pre_engine_init",
        "engine: The node answers.",
        'eventinit run examples/callback.yaml --prompt "Hello"',
    )


def test_observers_are_independent_of_each_other_and_of_the_start() -> None:
    """The one that fails and hangs is named in the log; the others see everything, to the very end."""
    text = output_of("examples/observers.py")
    assert "observer_failed observer=Troublemaker.misbehave event=PreInitialization" in text
    in_order(text, "trouble  hangs on Pre", "took 2 events and disturbed nobody; left over: []")
    in_order(
        text,
        "printer  PreInitialization",
        "printer  PostDownload (completed)",
        "printer  PostEngineInit (completed)",
        "printer  PostShutdown (completed)",
        "metrics  ",
    )
    in_order(text, "main     started in", "running: True")
    assert {"download", "placement_group", "engine_init", "initialization"} <= set(re.findall(r"metrics  (\w+) ", text))


def test_service_answers_while_its_node_starts() -> None:
    in_order(
        output_of("examples/service.py"),
        "serves while demo starts",
        "/health 200 alive   /ready 503 starting: ",
        "/health 200 alive   /ready 200 ready",
        "the slowest /health answer took",
        "/generate 200 The capital of France is",
    )


@pytest.mark.asyncio
async def test_service_outlives_a_start_that_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    failing = Fakes(FakeSource(fails_with=StoreUnavailableError("s3://models/demo", "does not answer; is it up?")))
    failure = await serve(LLMConfig(model_id="demo"), failing.backends(), None, None)
    assert failure == "the start failed: s3://models/demo: does not answer; is it up?"
    in_order(capsys.readouterr().out, "/health 200 alive   /ready 500 the start failed", "/generate 500")
    assert failing.left_behind() == []


def test_service_says_in_one_line_what_is_wrong_with_its_configuration() -> None:
    ended = run("examples/service.py", "--real", "no-such.yaml")
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == ["no-such.yaml: there is no such file; check the path"]
