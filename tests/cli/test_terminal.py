"""What a terminal shows of a start."""

import pytest

from eventinit.cli.terminal import Terminal
from eventinit.events import PhaseFailed


def test_the_first_failure_says_what_is_still_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Between a failed download and the error some seconds may pass in which Ray or vLLM comes up, only to be ended."""
    terminal = Terminal()
    terminal.show(PhaseFailed(failed_phase="download", error="DownloadError", message="no such bucket"))
    terminal.show(PhaseFailed(failed_phase="placement_group", error="Cancelled", cancelled=True))
    lines = [line.split(" s  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert [line.split()[0] for line in lines] == ["download", "cleaning", "placement_group"]
    assert "failed: no such bucket" in lines[0]
    assert "the start of Ray or vLLM" in lines[1]
