import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.local_s3 import LocalS3
from tests.real.environment import SMALL_AND_OFFLINE
from tests.real_models import build_tiny_llama

ROOT = Path(__file__).parents[2]


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
