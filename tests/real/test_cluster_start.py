"""vLLM's Ray executor in the group that was reserved: two Ray nodes on one machine, with GPUs that are CPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def told(real_environment: dict[str, str], tiny_uri: str) -> dict[str, Any]:
    """What three starts on one cluster have told: a whole one, a cancelled one, and one that loses a node."""
    path = os.pathsep.join([str(HERE / "fake_gpu"), real_environment["PYTHONPATH"]])
    command = [sys.executable, str(HERE / "cluster_start.py"), tiny_uri]
    environment = {**real_environment, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert lines, f"the starts failed:\n{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    report: dict[str, Any] = json.loads(lines[-1].removeprefix("REPORT "))
    return report


def test_two_nodes_generate_text_together(told: dict[str, Any]) -> None:
    assert told["whole"]["answer"]


def test_each_worker_has_a_bundle_of_the_very_group_that_was_reserved(told: dict[str, Any]) -> None:
    workers = told["whole"]["workers"]
    assert [worker["group"] for worker in workers] == [told["whole"]["group"]] * 2
    assert sorted(worker["node"] for worker in workers) == sorted(told["whole"]["nodes"])
    assert len(set(told["whole"]["nodes"])) == 2
    assert [worker["devices"] for worker in workers] == [1, 1]


def test_the_workers_have_the_runtime_env(told: dict[str, Any]) -> None:
    assert [worker["mark"] for worker in told["whole"]["workers"]] == ["of the runtime_env"] * 2


@pytest.mark.parametrize("start", ["whole", "node lost"])
def test_nothing_is_left_and_the_address_is_as_before(told: dict[str, Any], start: str) -> None:
    """The address in the environment was of another Ray all the while."""
    assert told[start]["left"] == {"groups": [], "actors": [], "processes": [], "folders": []}
    assert told[start]["address_restored"]


def test_a_node_that_is_killed_while_the_engine_starts_is_named_within_a_bounded_time(told: dict[str, Any]) -> None:
    assert told["node lost"]["error"] == "NodeLostError"
    assert told["node lost"]["seconds"] < 60
