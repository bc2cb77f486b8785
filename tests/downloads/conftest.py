import os
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest

from eventinit.ports import FetchProgress
from examples.local_s3 import LocalS3


def safetensors(data: bytes) -> bytes:
    """Return a file of weights with one tensor."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(data), len(data))
    return len(header).to_bytes(8, "little") + header + data


MODEL = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer.json": b"{}" * 100,
    "chat_template.jinja": b"{{ messages }}",
    "README.md": b"# tiny",
    "empty.txt": b"",
    "nested/notes.txt": b"deep",
    "nested/a b/über+50%25 #1&2=?.txt": b"odd",
    "model-00001-of-00002.safetensors": safetensors(os.urandom(1000)),
    "model-00002-of-00002.safetensors": safetensors(os.urandom(40 * 1024 * 1024 + 7)),
}
"""A model with an empty file, a nested one, and one that takes three ranges."""

TOKENIZER = {"config.json", "tokenizer.json", "chat_template.jinja"}

_numbers = count()


class Reports(list[FetchProgress]):
    """Every progress that was reported."""

    def is_monotonic(self) -> bool:
        steps = [(r.bytes_done, r.files_done) for r in self]
        return all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(steps))


def write_model(folder: Path, files: dict[str, bytes] = MODEL) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the visible files of a model's folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".eventinit" not in path.parts
    }


def partials(folder: Path) -> list[Path]:
    """Return what is left of transfers that are not complete."""
    return [path for path in folder.rglob(".eventinit/partial/**/*") if path.is_file()]


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture(scope="session")
def model_uri(server: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model, in the bucket; tests leave it as it is."""
    server.upload(write_model(tmp_path_factory.mktemp("model")), "s3://models/tiny")
    return "s3://models/tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an environment without any AWS setting."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "cache"
    monkeypatch.setenv("EVENTINIT_CACHE", str(folder))
    return folder


@pytest.fixture
def s3(server: LocalS3, cache: Path, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    """The server, with its variables in the environment."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def upload(s3: LocalS3, tmp_path: Path) -> Callable[[dict[str, bytes]], str]:
    """Put files under a prefix of their own and return its URI."""

    def put(files: dict[str, bytes]) -> str:
        number = next(_numbers)
        uri = f"s3://models/own-{number}"
        s3.upload(write_model(tmp_path / f"own-{number}", files), uri)
        return uri

    return put
