"""The ``eventinit run`` command on the real store, Ray and vLLM, as a process of its own."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.local_s3 import LocalS3
from tests.real.environment import TINY_ENGINE

pytestmark = pytest.mark.real

CALLBACK = '''
class Rules:
    """Sync and async hooks that tell on standard error what they see."""

    def __init__(self, length):
        self.length = length

    def on_pre_download(self, ctx):
        print("HOOK pre_download", ctx.download_result is None, flush=True)

    async def on_post_download(self, ctx):
        print("HOOK post_download", ctx.download_result.files, flush=True)

    def on_pre_engine_init(self, ctx):
        ctx.extra_init_kwargs["max_model_len"] = self.length

    def on_post_initialization(self, ctx):
        print("HOOK changes", [c.handler for c in ctx.changes if c.key == ("max_model_len",)], flush=True)


class Failing:
    def on_post_placement_group(self, ctx):
        raise OSError("no licence server")
'''

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site_rules.py").write_text(CALLBACK)
    return tmp_path


@pytest.fixture
def run(folder: Path, command: Callable[..., list[str]], environment: dict[str, str]) -> Run:
    def start(*options: str, variables: dict[str, str] | None = None, **fields: Any) -> Any:
        return subprocess.run(
            command(*options, **fields),
            cwd=folder,
            env={**environment, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return start


def test_a_start_through_a_callback_class_answers(run: Run) -> None:
    done = run("--prompt", "the quick", "--explain", callback_class="site_rules.Rules", callback_kwargs={"length": 64})
    assert done.returncode == 0, done.stderr[-3000:]
    *hooks, answer = done.stdout.splitlines()
    assert hooks == ["HOOK pre_download True", "HOOK post_download 6", "HOOK changes ['Rules.on_pre_engine_init']"]
    assert answer
    for part in ("initialization", "download", "placement_group", "engine_init", "100 %", "ran at the same time for"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    explained = done.stderr.partition("who changed what:\n")[2].partition("> the quick")[0]
    [changed] = [line for line in explained.splitlines() if "extra_init_kwargs.max_model_len" in line]
    assert "absent -> 64" in changed
    assert changed.endswith("Rules.on_pre_engine_init on PreEngineInit")
    assert "placement_group" in explained
    assert done.stderr.count("who changed what:") == 1


def refusal(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the one error that was told, which came with status 1 and without a traceback."""
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("eventinit: "))


def test_a_store_that_is_down(run: Run) -> None:
    told = refusal(run(variables={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}))
    assert "127.0.0.1:9" in told
    assert "check AWS_ENDPOINT_URL" in told


def test_a_bucket_that_does_not_exist(run: Run) -> None:
    assert "nowhere" in refusal(run(model_source="s3://nowhere/tiny"))


def test_a_prefix_that_does_not_exist(run: Run) -> None:
    assert "no-such-model" in refusal(run(model_source="s3://models/no-such-model"))


def test_access_denied(run: Run, server: LocalS3) -> None:
    told = refusal(run(variables=server.environment(server.stranger)))
    assert "refused" in told
    assert "AWS_ACCESS_KEY_ID" in told
    assert server.stranger.secret not in told


def test_a_missing_model_folder(run: Run) -> None:
    assert "/no/such/folder" in refusal(run(model_source="/no/such/folder"))


def test_a_group_that_can_never_fit(run: Run) -> None:
    told = refusal(run(placement_group_config={"bundles": [{"CPU": 1, "GPU": 8}]}))
    assert "GPU: 8" in told
    assert "placement_group_config" in told


def test_an_engine_argument_that_does_not_exist(run: Run) -> None:
    told = refusal(run(engine_kwargs={"max_modle_len": 64}))
    assert "'max_modle_len'" in told
    assert "'max_model_len'" in told


def test_an_engine_argument_that_vllm_refuses(run: Run) -> None:
    told = refusal(run(engine_kwargs={**TINY_ENGINE, "max_model_len": 100_000}))
    assert "max_model_len" in told


def test_a_hook_that_raises(run: Run) -> None:
    told = refusal(run(callback_class="site_rules.Failing"))
    assert "Failing.on_post_placement_group" in told
    assert "OSError: no licence server" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_while_the_engine_starts_cleans_up(
    number: signal.Signals, folder: Path, command: Callable[..., list[str]], environment: dict[str, str]
) -> None:
    """The ``environment`` fixture looks for processes and folders afterwards."""
    process = subprocess.Popen(command(), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "engine_init" in line and "begins" in line:
                process.send_signal(number)
                break
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "cleaning up" in rest
    assert "engine_init      cancelled" in rest
    assert "Traceback" not in rest
