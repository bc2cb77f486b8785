"""Whose a thing is, and whether that process still lives."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from eventinit.owner import Owner, parse_owner, started_at, this_owner


def owner_that_has_ended() -> Owner:
    program = "from eventinit.owner import this_owner; print(this_owner('theirs'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    owner = parse_owner(done.stdout)
    assert owner is not None
    return owner


def test_an_owner_can_be_read_back() -> None:
    owner = replace(this_owner("3f2a9c1b04d2"), host="gpu-7.rack-2.example")
    assert parse_owner(f"{owner}\n") == owner


@pytest.mark.parametrize("text", ["", "eventinit-3f2a9c1b04d2", "my own group", "eventinit-a-b-c-d-e"])
def test_what_others_have_named_has_no_owner(text: str) -> None:
    assert parse_owner(text) is None


def test_the_process_that_asks_is_alive() -> None:
    assert this_owner("mine").is_alive() is True


def test_a_process_that_has_ended_is_not_alive() -> None:
    assert owner_that_has_ended().is_alive() is False


def test_a_process_that_waits_to_be_reaped_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        owner = replace(this_owner("theirs"), pid=process.pid, started=started_at(process.pid) or 0)
        assert owner.is_alive() is True
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert owner.is_alive() is False


def test_a_later_process_with_the_same_id_is_not_the_owner() -> None:
    mine = this_owner("mine")
    assert replace(mine, started=mine.started - 1).is_alive() is False


def test_a_process_of_another_machine_cannot_be_judged() -> None:
    assert replace(this_owner("mine"), machine="0123456789ab").is_alive() is None
