"""``eventinit cache fetch``, as it is typed, from a real S3 server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eventinit.cli import main
from examples.local_s3 import LocalS3
from tests.downloads.conftest import MODEL, contents, write_model
from tests.downloads.scripted_store import MIB, content

pytestmark = pytest.mark.real

URI = "s3://models/cache-fetch"


@pytest.fixture(autouse=True)
def store(server: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    """A model in the store, and an empty cache."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / "cache"))
    server.upload(write_model(tmp_path / "model"), URI)
    return server


def config(tmp_path: Path, *lines: str, uri: str = URI) -> str:
    path = tmp_path / "node.yaml"
    path.write_text("\n".join(["model_id: tiny", f"model_source: {uri}", *lines]))
    return str(path)


def test_what_a_start_would_fetch_is_there_afterwards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cache", "fetch", config(tmp_path, "local_node_download_model: TOKENIZER_ONLY")]

    assert main(words) == 0
    printed, told = capsys.readouterr()
    assert contents(Path(printed.strip())) == MODEL, "the other nodes of a start fetch everything"
    assert f"{URI}, MODEL_AND_TOKENIZER: {len(MODEL)} files" in told

    assert main(words) == 0
    assert "0 B fetched" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "fetch", config(tmp_path, uri="s3://models/cache-fetsh")]) == 1

    assert "s3://models/cache-fetsh" in capsys.readouterr().err


def test_a_configuration_that_downloads_nothing_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = config(tmp_path, "local_node_download_model: NONE", "worker_node_download_model: NONE")

    assert main(["cache", "fetch", nothing]) == 1

    printed, told = capsys.readouterr()
    assert not printed
    assert "local_node_download_model: NONE" in told
    assert "there is nothing to fetch" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_the_next_goes_on(store: LocalS3, tmp_path: Path, number: signal.Signals) -> None:
    store.upload(write_model(tmp_path / "large", {"config.json": b"{}", "model.bin": content(2, 8 * MIB)}), f"{URI}-8")
    slow = config(tmp_path, "download: {max_bandwidth: 2000000}", uri=f"{URI}-8")
    command = [sys.executable, "-m", "eventinit", "cache", "fetch", slow]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr
        while process.stderr.readline().startswith("0 B"):  # until something is there
            pass
        process.send_signal(number)
        told = process.stderr.read()

    assert process.returncode == 128 + number
    assert f"{number.name}: cleaning up" in told

    result = subprocess.run(
        [sys.executable, "-m", "eventinit", "cache", "fetch", config(tmp_path, uri=f"{URI}-8")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "8.4 MB; 8.4 MB fetched" not in result.stderr
    assert (Path(result.stdout.strip()) / "model.bin").read_bytes() == content(2, 8 * MIB)
