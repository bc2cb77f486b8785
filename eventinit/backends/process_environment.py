"""What every thread of the process shares, changed by one start at a time.

Environment variables and the folder for temporary files belong to the whole process, and the processes of an engine
inherit them. Whoever needs others for a while takes the one lock here, and so does whoever must not meet them: a
Ray that is started meanwhile would put its sockets into an engine's private folder and lose them with it.
"""

import os
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

_LOCK = threading.RLock()
_SLICE_S = 0.1


class GivenUpError(Exception):
    """Raised in a worker thread whose caller no longer waits for what it does."""


@contextmanager
def process_environment(
    variables: Mapping[str, str],
    temporary_folder: Path | None = None,
    *,
    given_up: threading.Event | None = None,
) -> Generator[None]:
    """Have the process to oneself, with these variables and this folder for temporary files, until the block ends.

    It blocks while another thread is in such a block, so use it in a worker thread only. ``{}`` changes nothing and
    keeps the others out. Afterwards the changed variables are as they were before, the others are left alone.

    Raises:
        GivenUpError: ``given_up`` was set while this thread waited for its turn.
    """
    _acquire(given_up)
    try:
        with _changed(_with_folder(variables, temporary_folder), temporary_folder):
            yield
    finally:
        _LOCK.release()


def _acquire(given_up: threading.Event | None) -> None:
    if given_up is None:
        _LOCK.acquire()
        return
    while not _LOCK.acquire(timeout=_SLICE_S):
        if given_up.is_set():
            raise GivenUpError


def _with_folder(variables: Mapping[str, str], folder: Path | None) -> dict[str, str]:
    return dict(variables) if folder is None else {**variables, "TMPDIR": str(folder)}


@contextmanager
def _changed(variables: Mapping[str, str], folder: Path | None) -> Generator[None]:
    before = {name: os.environ.get(name) for name in variables}
    tempdir_before = tempfile.tempdir
    os.environ.update(variables)
    if folder is not None:
        tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        for name, value in before.items():
            restore_variable(name, value)
        if folder is not None:
            tempfile.tempdir = tempdir_before


def restore_variable(name: str, value: str | None) -> None:
    """Give a variable of the process the value that it had; None where there was none."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
