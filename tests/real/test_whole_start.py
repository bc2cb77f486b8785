"""A start through the bus on the real store, Ray and vLLM."""

import json
from typing import Any

import pytest

from eventinit.events import from_json

pytestmark = pytest.mark.real


def at(report: dict[str, Any], name: str) -> float:
    """When an event was emitted; the last of several."""
    times: list[float] = [item["data"]["at"] for item in map(json.loads, report["events"]) if item["event"] == name]
    return times[-1]


def test_the_engine_answers_with_what_a_handler_changed(whole_start: dict[str, Any]) -> None:
    assert whole_start["answer"]
    assert whole_start["max_model_len"] == 64
    assert any("extra_init_kwargs.max_model_len: absent -> 64" in change for change in whole_start["changes"])


def test_the_reservation_begins_before_the_download_ends(whole_start: dict[str, Any]) -> None:
    assert at(whole_start, "PrePlacementGroup") < at(whole_start, "DownloadProgress") < at(whole_start, "PostDownload")
    assert whole_start["overlap_s"] > 0


def test_all_events_fire_once_and_can_be_read_back(whole_start: dict[str, Any]) -> None:
    events = [from_json(line) for line in whole_start["events"]]
    names = [type(event).__name__ for event in events if type(event).__name__ != "DownloadProgress"]
    assert sorted(names) == sorted(set(names))
    assert names[0] == "PreInitialization"
    assert names[-5:] == ["PreEngineInit", "PostEngineInit", "PostInitialization", "PreShutdown", "PostShutdown"]


def test_nothing_is_left_of_the_node(whole_start: dict[str, Any]) -> None:
    assert whole_start["processes_left"] == []
    assert whole_start["folders_left"] == []


def test_nothing_of_ours_blocks_the_event_loop(whole_start: dict[str, Any]) -> None:
    assert whole_start["blocked"] == []


def test_the_event_loop_stays_responsive(whole_start: dict[str, Any], lag_report: dict[str, float]) -> None:
    """The worst lag of each stage is printed in the summary; vLLM's import is the bad one (see ``preload``)."""
    lag_report.update(whole_start["lags_s"])
    assert set(lag_report) == {"import", "reservation", "engine start", "shutdown"}
    assert max(lag_report.values()) < 3.0
