"""A child process that fetches from the Hub, followed and ended by this one."""

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, final

from anyio import CancelScope, EndOfStream, IncompleteRead, current_time, move_on_after, open_process, sleep
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from eventinit.downloads.hub_errors import from_json
from eventinit.downloads.hub_transfer import Job
from eventinit.downloads.reading import backoff_s
from eventinit.errors import DownloadError, StalledError, StoreUnavailableError
from eventinit.ports import FetchProgress

_GRACE_S = 0.5
_START_TIMEOUT_S = 120.0
_LONGEST_LINE = 4 * 1024 * 1024
_NOTHING = FetchProgress(0, 0, 0, 0)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class _ChildLostError(Exception):
    """Raised when a child was silent for too long, or has ended without an answer."""

    def __init__(self, *, silent: bool, how: str) -> None:
        self.silent = silent
        super().__init__(how)


@final
@dataclass(slots=True)
class ChildFetch:
    """A job on its way in child processes, one after another as long as bytes come."""

    job: Job
    hub: str
    is_offline: bool
    report: Callable[[FetchProgress], None]
    bytes_fetched: int = 0
    _last: FetchProgress = _NOTHING
    _waiting_for: str = "the list of files"
    _activity_at: float = 0.0
    _moved: bool = False

    async def run(self) -> None:
        """Fetch until everything is there.

        Raises:
            DownloadError: The files cannot be had; the class says why.
        """
        self._activity_at = current_time()
        tries = 0
        while True:
            self._moved = False
            try:
                return await self._try()
            except _ChildLostError as lost:
                tries = 1 if self._moved else tries + 1
                if tries >= self.job.settings.attempts:
                    raise self._given_up(lost) from None
            await sleep(backoff_s(tries))

    async def _try(self) -> None:
        before = self.bytes_fetched
        patience_s = self.job.settings.stall_timeout_s
        async with (
            _child(self.job, is_offline=self.is_offline) as process,
            aclosing(_lines(process, patience_s)) as lines,
        ):
            async for line in lines:
                if "error" in line:
                    raise from_json(line["error"])
                if "done" in line:
                    return
                if "progress" in line:
                    self._look(line, before)
        raise _ChildLostError(silent=False, how=_end_of(process.returncode))

    def _look(self, line: Mapping[str, Any], before: int) -> None:
        progress = FetchProgress(*line["progress"])
        self.bytes_fetched = before + line["fetched"]
        self._waiting_for = line["waiting_for"] or self._waiting_for
        if progress.bytes_done > self._last.bytes_done:
            self._moved = True
            self._activity_at = current_time()
        # A second child counts anew what is there; what was told does not go back.
        done = max(progress.bytes_done, self._last.bytes_done), max(progress.files_done, self._last.files_done)
        progress = FetchProgress(done[0], progress.bytes_total, done[1], progress.files_total)
        if progress != self._last:
            self._last = progress
            self.report(progress)

    def _given_up(self, lost: _ChildLostError) -> DownloadError:
        if lost.silent:
            silent_s = round(current_time() - self._activity_at, 1)
            return StalledError(self.job.source, self._waiting_for, silent_s, [self.hub])
        return StoreUnavailableError(self.job.source, f"{lost}; fetch again, or look for it in the system's log")


@asynccontextmanager
async def _child(job: Job, *, is_offline: bool) -> AsyncGenerator[Process]:
    """Run a child for the job; when the block is left it has ended, with all that it started."""
    command = [sys.executable, "-P", "-m", "eventinit.downloads.hub_child"]
    process = await open_process(
        command, stderr=DEVNULL, env=_environment(is_offline=is_offline), start_new_session=True
    )
    try:
        assert process.stdin is not None
        with suppress(OSError):
            await process.stdin.send(json.dumps({"parent": os.getpid(), "job": job.to_json()}).encode() + b"\n")
        yield process
    finally:
        await _end(process)


def _environment(*, is_offline: bool) -> dict[str, str]:
    """Let the child find the modules that this process finds, and be offline only if this process is."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OFFLINE}
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return inherited | {"PYTHONPATH": path} | ({"HF_HUB_OFFLINE": "1"} if is_offline else {})


async def _end(process: Process) -> None:
    _signal(process, signal.SIGTERM)
    try:
        with move_on_after(_GRACE_S, shield=True):
            await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
        with CancelScope(shield=True):
            await process.aclose()


def _signal(process: Process, number: signal.Signals) -> None:
    """Tell the whole group, which outlives the child if the child has started something."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _lines(process: Process, patience_s: float) -> AsyncGenerator[dict[str, Any]]:
    """Yield what the child says.

    Raises:
        _ChildLostError: Nothing happened for too long, counted from when the child was ready.
    """
    assert process.stdout is not None
    stream = BufferedByteReceiveStream(process.stdout)
    limit_s = _START_TIMEOUT_S
    while True:
        line = None
        try:
            with move_on_after(limit_s):
                line = await stream.receive_until(b"\n", _LONGEST_LINE)
        except (EndOfStream, IncompleteRead):
            return
        if line is None:
            raise _ChildLostError(silent=True, how="silent")
        limit_s = patience_s
        yield json.loads(line)


def _end_of(code: int | None) -> str:
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return f"the process that fetches the model {how}"
