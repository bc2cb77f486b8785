"""Starts that are killed or interrupted, as processes of their own, and what ``eventinit doctor`` finds afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from eventinit.owner import this_owner
from tests.real.cluster_start import CLOSED_GATE, TwoNodes
from tests.real.environment import processes_with

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

ENDS_WITHIN_S = 120
NEVER_PLACED = {"bundles": [CLOSED_GATE]}
SLOWLY = {"max_bandwidth": 500_000}

BOTH = ((signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGTERM))
ALL = int(os.environ.get("EVENTINIT_TRIALS", "5")) >= 20

RESERVE = """
import os, sys, ray
ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
mine = sys.argv[4].replace("-1-", f"-{os.getpid()}-", 1)
for name in (*sys.argv[2:], mine):
    ray.util.placement_group([{"CPU": 0.01}], name=name, lifetime="detached").wait(60)
print(os.getpid(), flush=True)
sys.stdin.read()
"""

Doctor = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def doctor(folder: Path, environment: dict[str, str]) -> Doctor:
    """Runs the command and returns its exit status and what it has listed."""

    def look(*words: str) -> tuple[int, list[dict[str, Any]]]:
        command = [sys.executable, "-m", "eventinit", "doctor", "--json", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)["found"]

    return look


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    """A Ray that outlives the starts on it."""
    two = TwoNodes()
    try:
        two.close_the_gate()
        yield two
    finally:
        two.shutdown()


def name_of(value: signal.Signals | str) -> str:
    return value if isinstance(value, str) else value.name


@contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str]) -> Generator["subprocess.Popen[str]"]:
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(process: "subprocess.Popen[str]", pattern: str) -> None:
    assert process.stderr is not None
    seen: list[str] = []
    for line in process.stderr:
        seen.append(line)
        if re.search(pattern, line):
            return
    pytest.fail(f"{pattern!r} never came:\n{''.join(seen)[-3000:]}")


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what Ray notices by itself."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


def kinds(found: list[dict[str, Any]], state: str = "left") -> set[str]:
    return {each["kind"] for each in found if each["state"] == state}


def test_a_node_that_is_killed_is_found_and_cleaned(
    command: Callable[..., list[str]], folder: Path, environment: dict[str, str], doctor: Doctor
) -> None:
    """The ``environment`` fixture looks for processes and folders afterwards."""
    with started(command(), folder, environment) as node:
        wait_for_line(node, "the node runs")
        assert any("VLLM" in line for line in processes_with("MARK", environment["MARK"]))
        status, living = doctor("--clean")
        assert status == 0
        assert kinds(living, "in use") == {"engine's process", "engine's folder", "embedded Ray's folder"}
        assert node.poll() is None
        node.kill()
        node.wait()

    status, left = doctor()
    assert status == 1
    assert {"engine's process", "engine's folder", "embedded Ray's folder"} <= kinds(left)
    assert {each["owner"]["pid"] for each in left} == {node.pid}
    assert {"VLLM::EngineCore", "VLLM::Worker"} <= {each["name"].partition(" ")[2].strip() for each in left}

    status, _ = doctor("--clean")
    assert status == 0
    assert doctor() == (0, [])


@pytest.mark.parametrize(("number", "another"), BOTH if ALL else BOTH[:1], ids=name_of)
def test_a_running_node_that_gets_a_signal_and_another_in_its_shutdown_leaves_nothing(
    number: signal.Signals,
    another: signal.Signals,
    command: Callable[..., list[str]],
    folder: Path,
    environment: dict[str, str],
    doctor: Doctor,
) -> None:
    with started(command(), folder, environment) as node:
        wait_for_line(node, "the node runs")
        node.send_signal(number)
        wait_for_line(node, "shutdown +begins")
        node.send_signal(another)
        _, rest = node.communicate(timeout=ENDS_WITHIN_S)
    assert node.returncode == 128 + number
    assert "shutdown         completed" in rest
    assert "Traceback" not in rest
    assert doctor() == (0, [])


@pytest.mark.skipif(not ALL, reason="a whole start; tried by `make test-exhaustive`")
def test_a_signal_in_the_shutdown_after_an_answer_tells_of_itself_in_the_status(
    command: Callable[..., list[str]], folder: Path, environment: dict[str, str], doctor: Doctor
) -> None:
    with started(command("--prompt", "the quick"), folder, environment) as node:
        wait_for_line(node, "shutdown +begins")
        node.send_signal(signal.SIGINT)
        _, rest = node.communicate(timeout=ENDS_WITHIN_S)
    assert node.returncode == 128 + signal.SIGINT
    assert "Traceback" not in rest
    assert doctor() == (0, [])


SLOW_HOOK = """
import asyncio, sys

class Slow:
    async def on_pre_initialization(self, ctx):
        print("the hook waits", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
"""
EARLY = ("initialization", "start of Ray", "placement_group")
CASES = [(phase, number) for phase in EARLY for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize(("phase", "number"), CASES if ALL else CASES[::3], ids=name_of)
def test_a_start_that_is_interrupted_before_its_engine_leaves_nothing(
    phase: str,
    number: signal.Signals,
    command: Callable[..., list[str]],
    folder: Path,
    environment: dict[str, str],
    doctor: Doctor,
    cluster: TwoNodes,
    tiny_model: Path,
) -> None:
    """The ``environment`` fixture looks for processes and folders afterwards."""
    (folder / "slow_hook.py").write_text(SLOW_HOOK)
    fields: dict[str, Any] = {"model_source": str(tiny_model)}
    if phase != "start of Ray":
        fields["ray_address"] = cluster.address
    if phase == "initialization":
        fields["callback_class"] = "slow_hook.Slow"
    if phase == "placement_group":
        fields["placement_group_config"] = NEVER_PLACED
    lines = {"initialization": "the hook waits", "start of Ray": "placement_group +begins"}
    with started(command(**fields), folder, environment) as start:
        wait_for_line(start, lines.get(phase, "placement_group +waits"))
        start.send_signal(number)
        _, rest = start.communicate(timeout=ENDS_WITHIN_S)
    assert start.returncode == 128 + number
    assert "initialization   cancelled" in rest
    assert "Traceback" not in rest
    wait_until(lambda: cluster.living_groups() == [])
    assert doctor("--address", cluster.address) == (0, [])


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "SIGTERM", "SIGKILL"]
)
def test_a_start_that_downloads_and_waits_for_its_group_leaves_only_what_can_be_resumed(
    number: signal.Signals,
    command: Callable[..., list[str]],
    folder: Path,
    environment: dict[str, str],
    doctor: Doctor,
    cluster: TwoNodes,
    large_uri: str,
) -> None:
    """The group is Ray's to remove when a driver is killed; it was never detached."""
    words = command(
        model_source=large_uri, placement_group_config=NEVER_PLACED, download=SLOWLY, ray_address=cluster.address
    )
    everything = {"placement group", "partial files"}
    with started(words, folder, environment) as start:
        wait_for_line(start, r"download +[1-9]\d* %")
        while kinds(found := doctor("--address", cluster.address)[1], "in use") != everything:
            assert start.poll() is None
        assert kinds(found) == set()
        start.send_signal(number)
        start.communicate(timeout=ENDS_WITHIN_S)
    assert start.returncode == (-number if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: cluster.living_groups() == [])
    status, left = doctor("--address", cluster.address)
    assert (status, kinds(left)) == (1, {"partial files"})
    assert "resumable" in left[0]["note"]
    assert doctor("--clean")[0] == 0
    assert doctor("--address", cluster.address) == (0, [])


def test_a_group_that_outlives_its_driver_is_removed_once_nobody_owns_it(doctor: Doctor, cluster: TwoNodes) -> None:
    """Ours end with their driver; detached ones stand for what a Ray has failed to remove."""
    here = this_owner("here")
    ended, elsewhere = replace(here, started=1), replace(here, machine="0123456789ab", pid=1)
    with subprocess.Popen(
        [sys.executable, "-c", RESERVE, cluster.address, *map(str, (ended, here, elsewhere)), "my own"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as driver:
        assert driver.stdout is not None
        driver_elsewhere = replace(elsewhere, pid=int(driver.stdout.readline()))
        driver.kill()
    wait_until(lambda: cluster.has_lost_driver(driver.pid))
    mine = {str(here), str(elsewhere), "my own"}
    assert set(cluster.living_groups()) == mine | {str(ended), str(driver_elsewhere)}

    status, found = doctor("--address", cluster.address)
    assert status == 1
    states = {each["owner"]["pid"]: each["state"] for each in found if each["owner"] != asdict(ended)}
    assert states == {here.pid: "in use", elsewhere.pid: "unknown", driver.pid: "left"}

    assert doctor("--address", cluster.address, "--clean")[0] == 0
    assert set(cluster.living_groups()) == mine
