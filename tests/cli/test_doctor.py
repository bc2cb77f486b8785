"""``eventinit doctor``, as it is typed, beside processes that were really killed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from eventinit.backends.process_tree import end_trees, is_running
from eventinit.cli import main
from eventinit.downloads.file_lock import FileLocks
from eventinit.owner import this_owner
from tests.cli.unfinished import leave_unfinished

Told = Callable[[], str]

STARTER = """
import subprocess, sys, psutil
from eventinit.backends.engine_folder import EngineFolder
from eventinit.owner import this_owner

ENGINE = '''
import mmap, os, sys, time
file = os.open("/dev/shm/" + os.path.basename(sys.argv[1]), os.O_CREAT | os.O_RDWR)
os.ftruncate(file, 4096)
shared = mmap.mmap(file, 4096)
print("up", flush=True)
time.sleep(600)
'''
folder = EngineFolder(this_owner("feed5eed"))
engine = subprocess.Popen([sys.executable, "-c", ENGINE, folder.path], stdout=subprocess.PIPE)
engine.stdout.readline()
folder.record([psutil.Process(engine.pid)])
print(engine.pid, folder.path, flush=True)
sys.stdin.read()
"""


class Node:
    """A process with an engine, as far as the doctor is concerned: a folder, a process and shared memory."""

    def __init__(self, starter: "subprocess.Popen[str]") -> None:
        assert starter.stdout is not None
        pid, _, folder = starter.stdout.readline().strip().partition(" ")
        self.starter = starter
        self.engine = psutil.Process(int(pid))
        self.folder = Path(folder)
        self.shared_memory = Path("/dev/shm", self.folder.name)

    def kill(self) -> None:
        self.starter.kill()
        self.starter.wait()

    def is_whole(self) -> bool:
        return is_running(self.engine) and self.folder.is_dir() and self.shared_memory.exists()

    def is_gone(self) -> bool:
        return not (is_running(self.engine) or self.folder.exists() or self.shared_memory.exists())


@contextmanager
def node() -> Generator[Node]:
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        started = Node(starter)
        try:
            yield started
        finally:
            starter.kill()
            end_trees([started.engine])
            started.shared_memory.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files, empty caches and no cluster."""
    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return lambda: capsys.readouterr().out


def test_a_clean_machine_is_told_with_what_was_looked_at(told: Told) -> None:
    assert main(["doctor"]) == 0
    assert told() == "nothing is left (looked at this machine; no Ray address was given)\n"


def test_no_ray_is_started_or_imported() -> None:
    program = "import sys; from eventinit.cli import main; main(['doctor']); sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_what_a_killed_start_has_left_is_listed_and_nothing_is_touched(told: Told) -> None:
    with node() as killed:
        killed.kill()
        assert main(["doctor"]) == 1
        text = told()
        assert str(killed.engine.pid) in text
        assert str(killed.folder) in text
        assert f"process {killed.starter.pid} on " in text
        assert "start feed5eed" in text
        assert "2 left by starts that have ended" in text
        assert killed.is_whole()


def test_clean_removes_it_and_finds_nothing_the_next_time(told: Told) -> None:
    """The shared memory of a process that is ended by force stays behind, so it goes too."""
    with node() as killed:
        killed.kill()
        assert main(["doctor", "--clean"]) == 0
        assert killed.is_gone()
        told()
        assert main(["doctor"]) == 0
        assert told().startswith("nothing is left")


def test_a_living_start_is_shown_as_in_use_and_not_touched(told: Told) -> None:
    with node() as killed, node() as living:
        killed.kill()
        assert main(["doctor", "--clean"]) == 0
        assert killed.is_gone()
        assert living.is_whole()
        told()
        assert main(["doctor"]) == 0
        rows = [line for line in told().splitlines() if str(living.starter.pid) in line]
        assert ["in use" in row for row in rows] == [True, True]


def test_a_folder_of_another_machine_is_left_to_people(folder: Path, told: Told) -> None:
    """A shared folder may show what belongs to a start that lives elsewhere."""
    theirs = folder / "eventinit-abc"
    theirs.mkdir()
    (theirs / "eventinit-owner").write_text("eventinit-feed5eed-1-1-0123456789ab-elsewhere")
    assert main(["doctor", "--clean"]) == 0
    assert theirs.exists()
    assert "unknown: the owner is on another machine" in told()


@pytest.mark.parametrize("text", [None, "", "somebody", "\udcff"])
def test_a_folder_that_nobody_has_signed_is_nobody_s_to_remove(text: str | None, folder: Path) -> None:
    theirs = folder / "eventinit-abc"
    theirs.mkdir()
    if text is not None:
        (theirs / "eventinit-owner").write_bytes(text.encode(errors="surrogateescape"))
    assert main(["doctor", "--clean"]) == 0
    assert theirs.exists()


def test_a_link_to_a_folder_is_not_followed(folder: Path) -> None:
    with node() as killed:
        killed.kill()
        end_trees([killed.engine])
        elsewhere = folder / "elsewhere"
        shutil.move(killed.folder, elsewhere)
        killed.folder.symlink_to(elsewhere)
        assert main(["doctor", "--clean"]) == 0
        assert elsewhere.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_what_another_user_has_written_ends_no_process() -> None:
    """A folder for temporary files is shared, and root would end whatever is named there."""
    with node() as killed:
        killed.kill()
        os.chown(killed.folder, 12345, 12345)
        assert main(["doctor", "--clean"]) == 0
        assert killed.is_whole()


def test_a_ray_that_others_have_started_is_not_touched(folder: Path) -> None:
    ours, theirs = folder / "ray" / "session_1_1", folder / "ray" / "session_2_2"
    for each in (ours, theirs):
        each.mkdir(parents=True)
    with node() as killed:
        killed.kill()
        shutil.copy(killed.folder / "eventinit-owner", ours)
        assert main(["doctor", "--clean"]) == 0
    assert not ours.exists()
    assert theirs.exists()


def test_partial_files_are_shown_as_resumable_and_removed(told: Told) -> None:
    leave_unfinished("large")
    assert main(["doctor"]) == 1
    text = told()
    assert "s3://models/large" in text
    assert "4.2 MB" in text
    assert "resumable" in text
    assert main(["doctor", "--clean"]) == 0
    told()
    assert main(["doctor"]) == 0
    assert told().startswith("nothing is left")


def test_partial_files_that_somebody_fetches_are_not_touched(told: Told, folder: Path) -> None:
    leave_unfinished("large")
    (model,) = (folder / "cache").glob("*/*")
    somebody = FileLocks(model / ".eventinit" / "locks")
    try:
        assert main(["doctor", "--clean"]) == 0
        assert f"process {this_owner('mine').pid} is fetching it" in told()
    finally:
        somebody.close()
    assert main(["doctor"]) == 1


def test_what_is_left_can_be_read_by_programs(told: Told) -> None:
    with node() as killed:
        killed.kill()
        assert main(["doctor", "--json"]) == 1
        said = json.loads(told())
        process, folder = said["found"]
    assert said["cluster"] is False
    assert process["name"].startswith(f"{killed.engine.pid} ")
    assert process["bytes"] > 0
    assert process["owner"]["pid"] == killed.starter.pid
    assert process["owner"]["start_id"] == "feed5eed"
    assert (folder["name"], folder["state"]) == (str(killed.folder), "left")


def test_words_that_it_does_not_know_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["doctor", "--purge"])
    assert refused.value.code == 2
