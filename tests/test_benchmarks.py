"""The benchmark runs and says what it should; how fast anything is, is its own business."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.downloads.pauses import PauseWatch, shared, without

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "tests/benchmarks/bus.py"
HANDLERS = (1, 10, 100, 1_000)


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout


def test_the_benchmark_reports_every_section_as_json() -> None:
    """With whatever other libraries are installed; those that are not are named."""
    report: dict[str, Any] = json.loads(run(PROGRAM, "--quick", "--json"))

    machine = report["machine"]
    assert machine["cpus"] > 0
    assert machine["cpu"]
    assert machine["python"]
    assert machine["date"]
    assert machine["versions"]["eventinit"]
    cells = {(cell["lane"], cell["handlers"], cell["contender"]): cell for cell in report["dispatch"]}
    assert {("async", n, "eventinit") for n in HANDLERS} | {("sync", n, "eventinit") for n in HANDLERS} <= set(cells)
    for cell in report["dispatch"] + report["lifecycle"] + report["nobody"]:
        assert cell["fault"] or (cell["ns"] > 0 and cell["ratio"] > 0), cell
    assert all(cells["sync", n, "eventinit"]["ratio_to_calls"] > 0 for n in HANDLERS)
    assert {cell["contender"] for cell in report["lifecycle"]} >= {"eventinit", "eventinit, lifecycle event"}
    assert "eventinit" in {cell["contender"] for cell in report["nobody"]}
    assert report["observing"]["us_each"] > 0
    assert report["observing"]["burst_us_each"] > 0
    assert {cell["role"] for cell in report["subscribing"]} == {"handler", "observer"}
    assert all(cell["subscribe_us"] > 0 and cell["cancel_us"] > 0 for cell in report["subscribing"])
    assert min(report["memory"].values()) > 0
    assert len(report["targets"]) >= 16
    assert all(target["met"] == (target["measured"] <= target["limit"]) for target in report["targets"])
    described = {traits["name"] for traits in report["contenders"]}
    assert described.isdisjoint(report["left_out"])
    assert {"blinker send_async", "pyee", "bubus"} <= described | set(report["left_out"])
    ours = [traits for traits in report["contenders"] if traits["name"] == "eventinit"]
    assert all(traits["isolates"] and traits["priorities"] and traits["order"] == "as added" for traits in ours)


def test_the_benchmark_prints_its_targets_beneath_its_tables() -> None:
    """Started as a module, the other way to start it."""
    text = run("-m", "tests.benchmarks.bus", "--quick")

    tables, targets = text.split("## Targets")
    assert "| eventinit " in tables
    assert "nobody subscribed to" in targets
    verdicts = [line.split("|")[1].strip() for line in targets.strip().splitlines()[2:]]
    assert verdicts
    assert all(verdict == "met" or verdict.startswith("missed by ") for verdict in verdicts)


def test_the_benchmark_of_scale_reads_the_store_once_or_for_every_node() -> None:
    """And twice the nodes have no more than about twice the events."""
    report: dict[str, Any] = json.loads(run("tests/benchmarks/scale.py", "--quick", "--json"))

    model_bytes = report["hardware"]["model_bytes"]
    cells = {(result["distribution"], result["nodes"]): result["rounds"][0] for result in report["results"]}
    few, many = sorted({nodes for _, nodes in cells})
    assert many == 2 * few
    assert set(cells) == {(how, nodes) for how in ("direct", "broadcast") for nodes in (few, many)}
    for (distribution, nodes), figures in cells.items():
        times_read = nodes if distribution == "direct" else 1
        assert (figures["store_bytes"], figures["peer_bytes"]) == (
            times_read * model_bytes,
            (nodes - times_read) * model_bytes,
        )
        assert min(figures["seconds"], figures["cpu_s"], figures["longest_step_s"]) > 0
        assert figures["virtual_s"] > report["hardware"]["engine_s"]
        assert figures["events"]["PlacementPending"] > 1
        assert figures["events"]["PostShutdown"] == 1
        assert figures["observed"] + figures["dropped"] == sum(figures["events"].values())
    for distribution in ("direct", "broadcast"):
        events = [sum(cells[distribution, nodes]["events"].values()) for nodes in (few, many)]
        assert events[1] <= 2.5 * events[0]
    assert all(target["met"] == (target["measured"] <= target["limit"]) for target in report["targets"])


@pytest.mark.real
def test_the_benchmark_of_spreading_says_how_often_the_store_was_read() -> None:
    report: dict[str, Any] = json.loads(run("tests/benchmarks/spread.py", "--quick", "--json", "--nodes", "2"))

    assert {result["distribution"]: result["times_read"] for result in report["results"]} == {
        "direct": pytest.approx(2),
        "broadcast": pytest.approx(1),
    }
    for result in report["results"]:
        [figures] = result["rounds"]
        assert min(figures.values()) > 0


def test_a_pause_of_the_machine_is_one_of_all_its_processors() -> None:
    assert shared([[(0, 3), (5, 9)], [(1, 2), (4, 6), (8, 10)]]) == [(1, 2), (5, 6), (8, 9)]
    assert shared([]) is None
    assert without((5, 9), [(0, 1), (6, 8), (8.5, 20)]) == pytest.approx(1.5)


def test_a_machine_that_stands_still_is_noticed() -> None:
    """Its watchers are stopped in its place."""
    watch = PauseWatch()
    for watcher in watch.watchers:
        watcher.send_signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    time.sleep(0.05)
    going_on_at = time.monotonic()
    for watcher in watch.watchers:
        watcher.send_signal(signal.SIGCONT)

    pauses = watch.end()

    if pauses is None:
        pytest.skip("only root may have processes that come before all others")
    assert any(start < going_on_at and end > stopped_at and end - start > 0.04 for start, end in pauses)


@pytest.mark.real
def test_the_benchmark_of_downloads_reports_every_case_as_json() -> None:
    """On the real server, with little; whoever takes part delivers the right bytes."""
    report: dict[str, Any] = json.loads(
        run("tests/benchmarks/download.py", "--quick", "--json", "--gigabytes", "0.03", "--files", "30")
    )

    assert set(report["results"]) == {"large", "large, hashed", "small", "hub"}
    for case, results in report["results"].items():
        ours = results["eventinit" if case == "hub" else "eventinit, verify: size"]
        assert ours["failure"] is None, case
        figures = ours["rounds"]["0"]
        assert min(figures["seconds"], figures["cpu_s"], figures["peak_bytes"], figures["startup_s"]) > 0
        assert 0 <= (figures["unpaused_lag_ms"] or 0) <= figures["lag_ms"]
        assert not {result["failure"] for result in results.values()} - {None}
    assert report["results"]["small"]["(one plain reader)"]["rounds"]["0"]["seconds"] > 0
    for target in report["targets"]:
        limit, measured = target["limit"], target["measured"]
        assert target["met"] == (limit is None or (measured >= limit if target["at_least"] else measured <= limit))
    assert not set(report["left_out"]) & set(report["results"]["large"])
