"""The files that are downloaded, and whether a download has the same bytes."""

import hashlib
import json
import struct
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from random import Random

import obstore

from examples.local_s3 import LocalS3

BUCKET = "models"
LARGE_FILES = 8
SMALLEST, LARGEST = 2_000, 20_000
_FILES_IN_FOLDER = 100
_BLOCK = 16 * 1024 * 1024
_PART = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Data:
    """Files in a folder.

    Attributes:
        folder: Where they are.
        files: How many.
        size: How many bytes together.
    """

    folder: Path
    files: int
    size: int


def make_large(folder: Path, size: int, files: int = LARGE_FILES) -> Data:
    """Write files of random bytes in the form of model weights."""
    folder.mkdir(parents=True)
    random, each = Random(0), size // files
    for number in range(1, files + 1):
        tensor = {"dtype": "U8", "shape": [each], "data_offsets": [0, each]}
        header = json.dumps({"weight": tensor}).encode()
        with (folder / f"model-{number:05}-of-{files:05}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for at in range(0, each, _BLOCK):
                file.write(random.randbytes(min(_BLOCK, each - at)))
    return _data(folder)


def make_small(folder: Path, files: int) -> Data:
    """Write small files of random bytes, a hundred to a folder."""
    random = Random(1)
    for number in range(files):
        path = folder / f"part-{number // _FILES_IN_FOLDER:04}" / f"file-{number:06}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(random.randint(SMALLEST, LARGEST)))
    return _data(folder)


def upload(server: LocalS3, data: Data, prefix: str, *, in_parts: bool) -> str:
    """Upload a folder and return its URI; files put in parts have no checksum at the store, as with S3."""
    store = server.store(BUCKET)
    for path in _files(data.folder):
        key = f"{prefix}/{path.relative_to(data.folder).as_posix()}"
        obstore.put(store, key, path, use_multipart=in_parts, chunk_size=_PART)
    return f"s3://{BUCKET}/{prefix}"


def checksums_of(data: Data, algorithm: str) -> dict[str, str]:
    """Return the checksum of each file by its name; its MD5 is the ETag that S3 has of a file put in one piece."""
    return {path.relative_to(data.folder).as_posix(): _digest(algorithm, path) for path in _files(data.folder)}


def differences(data: Data, folder: Path) -> list[str]:
    """Return the names of the files that a folder lacks or has with other bytes."""
    names = [path.relative_to(data.folder) for path in _files(data.folder)]
    same = {
        name for name in names if (folder / name).is_file() and cmp(data.folder / name, folder / name, shallow=False)
    }
    return [str(name) for name in names if name not in same]


def _data(folder: Path) -> Data:
    sizes = [path.stat().st_size for path in _files(folder)]
    return Data(folder, len(sizes), sum(sizes))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(algorithm: str, path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
