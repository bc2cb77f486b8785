"""What runs on the node that fetches, without the Ray around it."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint

from eventinit.backends.ray_task import stream_fetch
from eventinit.ports import DownloadRequest, DownloadResult, FetchProgress, OpenSource, Report

REQUEST = DownloadRequest(("nowhere",), "MODEL_AND_TOKENIZER")
RESULT = DownloadResult(Path("/model"), "nowhere", "MODEL_AND_TOKENIZER", 100, 100, 100, 0.0)


@dataclass(frozen=True)
class Chatty:
    """A fetch that reports each of a hundred bytes."""

    report_interval_s: float
    request: DownloadRequest = REQUEST

    async def run(self, open_source: OpenSource, report: Report) -> DownloadResult:
        for done in range(101):
            report(FetchProgress(done, 100, done, 100))
            await checkpoint()
        return RESULT


def test_a_node_sends_its_progress_as_seldom_as_it_is_told_to() -> None:
    first, last, result = stream_fetch(pickle.dumps(Chatty(report_interval_s=60.0)))
    assert isinstance(first, FetchProgress)
    assert last == FetchProgress(100, 100, 100, 100)
    assert result == RESULT


def test_a_node_that_is_to_send_everything_sends_more() -> None:
    assert len(list(stream_fetch(pickle.dumps(Chatty(report_interval_s=0.0))))) > 10


@dataclass(frozen=True)
class Broken:
    """A fetch that fails as soon as anybody asks what it is."""

    report_interval_s: float = 0.0

    @property
    def request(self) -> DownloadRequest:
        raise ValueError("no request")


def test_a_fetch_that_fails_before_it_reports_anything_ends_with_its_error() -> None:
    with pytest.raises(ValueError, match="no request"):
        list(stream_fetch(pickle.dumps(Broken())))
