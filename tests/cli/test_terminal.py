"""What a terminal shows of a start."""

import pytest

from eventinit.cli.terminal import Terminal
from eventinit.events import DownloadProgress, PhaseFailed


def test_the_first_failure_says_what_is_still_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Between a failed download and the error some seconds may pass in which Ray or vLLM comes up, only to be ended."""
    terminal = Terminal()
    terminal.show(PhaseFailed(failed_phase="download", error="DownloadError", message="no such bucket"))
    terminal.show(PhaseFailed(failed_phase="placement_group", error="Cancelled", cancelled=True))
    lines = [line.split(" s  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert [line.split()[0] for line in lines] == ["download", "cleaning", "placement_group"]
    assert "failed: no such bucket" in lines[0]
    assert "the start of Ray or vLLM" in lines[1]


def test_the_progress_of_each_node_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    figures = {"bytes_total": 4_000_000, "files_done": 0, "files_total": 1, "bytes_per_second": 0.0}
    for node_id, done in (("", 1_000_000), ("n1", 2_000_000), ("n1", 3_000_000), ("n1", 4_000_000)):
        terminal.show(DownloadProgress.model_validate({**figures, "node_id": node_id, "bytes_done": done}))
    lines = capsys.readouterr().err.splitlines()
    assert ["25 %" in lines[0], "50 %" in lines[1], "100 %" in lines[2]] == [True] * 3
    assert ["on node n1" in line for line in lines] == [False, True, True]
