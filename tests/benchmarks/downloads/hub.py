"""The tests' Hub in a process of its own: ``python -m tests.benchmarks.downloads.hub FOLDER``."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.hub import hub_server

MODEL = "benchmark/model"


@contextmanager
def hub_of(folder: Path) -> Generator[tuple[str, int]]:
    """Serve the files of a folder as a model; yield the endpoint and the process id."""
    command = [sys.executable, "-m", "tests.benchmarks.downloads.hub", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.stdin.close()


def main(folder: Path) -> None:
    """Serve until the standard input ends."""
    with hub_server() as hub:
        hub.models[MODEL] = {path.name: path.read_bytes() for path in folder.iterdir()}
        print(hub.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
