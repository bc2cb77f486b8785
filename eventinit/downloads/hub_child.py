"""The process that fetches from the Hub: it reads a job and writes lines of JSON, until it is done or alone.

huggingface_hub's threads cannot be interrupted, its process can be ended at any time: what has arrived stays for the
next one, and its locks end with it. The token comes with the environment.
"""

import json
import os
import select
import sys
import threading
from dataclasses import astuple
from typing import Any, TextIO

from eventinit.downloads.hub_errors import hub_error, to_json
from eventinit.downloads.hub_transfer import Job, Look, Transfer

_PARENT_CHECK_INTERVAL_S = 0.25
_PIECE = 256 * 1024


def main() -> None:
    """Fetch the job on standard input."""
    lines = _take_stdout()
    parent, job = _read_job()
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()
    try:
        _write_often()
        _say(lines, started=True)
        _Teller(lines, job).run()
        _say(lines, done=True)
    except Exception as error:  # noqa: BLE001 - it is raised in the process that asked
        _say(lines, error=to_json(hub_error(error, job.source, job.endpoint)))
    # Threads that still fetch are not waited for: nobody wants what they bring.
    os._exit(0)


class _Teller:
    def __init__(self, lines: TextIO, job: Job) -> None:
        self._lines = lines
        self._last: Look | None = None
        self._transfer = Transfer(job, self._tell)

    def run(self) -> None:
        self._transfer.run()

    def _tell(self, look: Look) -> None:
        if look != self._last:
            self._last = look
            _say(
                self._lines,
                progress=astuple(look.progress),
                fetched=look.fetched,
                activity=look.activity,
                waiting_for=look.waiting_for,
            )


def _take_stdout() -> TextIO:
    """Return standard output for the lines alone; whatever else is printed goes nowhere."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return lines


def _read_job() -> tuple[int, Job]:
    value: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    return value["parent"], Job.from_json(value["job"])


def _write_often() -> None:
    # By default 10 MB are collected before they are written: a kill would lose them, a slow line seem to stall.
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = _PIECE


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, also where a sibling still holds the pipe."""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_INTERVAL_S)
        if readable and not os.read(0, 1024):
            break
    os._exit(1)


def _say(lines: TextIO, **what: Any) -> None:
    print(json.dumps(what), file=lines, flush=True)


if __name__ == "__main__":
    main()
