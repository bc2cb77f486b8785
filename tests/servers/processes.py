"""Start a server's process on 127.0.0.1, wait until it answers, and end it."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STARTS = 3


@contextmanager
def running(command: Callable[[int, Path], Sequence[str]]) -> Generator[int]:
    """Run the command that is made for a free port and an empty folder, and yield the port.

    Somebody else may take a port between the choice and the start, so a few are tried.
    """
    with tempfile.TemporaryDirectory(prefix="server-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        for _ in range(STARTS):
            port = _free_port()
            with log.open("wb") as output:
                process = subprocess.Popen(command(port, Path(folder)), stdout=output, stderr=output, cwd=folder)
            try:
                if _listens(process, port):
                    yield port
                    return
            finally:
                process.kill()
                process.wait()
        raise RuntimeError(f"the server did not start; its log ends:\n{log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
