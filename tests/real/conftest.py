import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.local_s3 import LocalS3
from tests.real.environment import SMALL_AND_OFFLINE, TINY_ENGINE, processes_with
from tests.real_models import build_tiny_llama

ROOT = Path(__file__).parents[2]
HELPERS_END_WITHIN_S = 20.0
"""Python's resource tracker ends by itself, after the last process that it serves."""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that vLLM boots and that knows nothing."""
    return build_tiny_llama(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_uri(server: LocalS3, tiny_model: Path) -> str:
    """The same model in the bucket."""
    server.upload(tiny_model, "s3://models/real/tiny")
    return "s3://models/real/tiny"


@pytest.fixture(scope="session")
def large_uri(server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose weights are too large to come at once; nobody boots it."""
    folder = tmp_path_factory.mktemp("large")
    header = b'{"w":{"dtype":"U8","shape":[40000000],"data_offsets":[0,40000000]}}'
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(40_000_000))
    server.upload(folder, "s3://models/real/large")
    return "s3://models/real/large"


@pytest.fixture(scope="session")
def real_environment(server: LocalS3) -> Iterator[dict[str, str]]:
    """The variables of a process that starts real nodes: its store, an empty cache, its own folder for files."""
    # A socket's path is short, so the folder is not one of pytest's.
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = {"EVENTINIT_CACHE": f"{folder}/cache", "TMPDIR": folder, "PYTHONPATH": str(ROOT)}
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EVENTINIT_", "RAY_"))
        }
        yield {**kept, **SMALL_AND_OFFLINE, **server.environment(), **own}


@pytest.fixture(scope="session")
def whole_start(real_environment: dict[str, str], tiny_uri: str) -> dict[str, Any]:
    """What one whole start on real parts has told; half a minute, shared by the tests that look at it."""
    command = [sys.executable, str(Path(__file__).with_name("whole_start.py")), tiny_uri]
    done = subprocess.run(command, env=real_environment, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert lines, f"the start failed:\n{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    report: dict[str, Any] = json.loads(lines[-1].removeprefix("REPORT "))
    return report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run finds its configuration."""
    return tmp_path


@pytest.fixture
def command(folder: Path, tiny_uri: str) -> Callable[..., list[str]]:
    """The words of a run of the tiny model, with other fields on top."""

    def words(*options: str, **fields: Any) -> list[str]:
        config = folder / "node.json"  # JSON is YAML
        values = {"model_id": "tiny", "model_source": tiny_uri, "engine_kwargs": TINY_ENGINE, **fields}
        config.write_text(json.dumps(values))
        return [sys.executable, "-m", "eventinit", "run", str(config), *options]

    return words


@pytest.fixture
def environment(real_environment: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """A process's variables, with a mark by which all that is left of it is found afterwards."""
    before = _folders(real_environment)
    yield {**real_environment, "MARK": str(tmp_path)}
    deadline = time.monotonic() + HELPERS_END_WITHIN_S
    while processes_with("MARK", str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_with("MARK", str(tmp_path)) == []
    assert _folders(real_environment) <= before


def _folders(environment: dict[str, str]) -> set[Path]:
    """Return the folders of engines and of Rays; a cluster of the tests leaves its own."""
    temporary = Path(environment["TMPDIR"])
    return {*temporary.glob("eventinit-*"), *temporary.glob("ray/session_2*")}
