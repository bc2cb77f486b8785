"""Starts that are killed or interrupted, as processes of their own, and what ``eventinit doctor`` finds afterwards."""

import json
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
from examples.local_s3 import LocalS3
from tests.real.cluster_start import TwoNodes
from tests.real.environment import processes_with

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

ENDS_WITHIN_S = 120
NEVER_PLACED = {"bundles": [{"CPU": 1000}]}
SLOWLY = {"max_bandwidth": 500_000}

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
    yield two
    two.shutdown()


@pytest.fixture(scope="module")
def large_uri(server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose weights are too large to come at once; nobody boots it."""
    folder = tmp_path_factory.mktemp("large")
    header = b'{"w":{"dtype":"U8","shape":[40000000],"data_offsets":[0,40000000]}}'
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(40_000_000))
    server.upload(folder, "s3://models/real/large")
    return "s3://models/real/large"


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


def test_a_running_node_that_gets_sigterm_leaves_nothing(
    command: Callable[..., list[str]], folder: Path, environment: dict[str, str], doctor: Doctor
) -> None:
    with started(command(), folder, environment) as node:
        wait_for_line(node, "the node runs")
        node.send_signal(signal.SIGTERM)
        _, rest = node.communicate(timeout=ENDS_WITHIN_S)
    assert node.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in rest
    assert doctor() == (0, [])


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
