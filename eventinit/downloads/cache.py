"""Where fetched models lie on this machine, and which path an object's key stands for."""

import os
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from eventinit.errors import UnsafeKeyError

PRIVATE = ".eventinit"
"""The folder inside a model's folder which holds the manifest and what is not complete yet."""

_READABLE_LENGTH = 80


def cache_root() -> Path:
    """Return ``EVENTINIT_CACHE``, else ``eventinit`` under the user's cache folder."""
    chosen = os.environ.get("EVENTINIT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser().absolute() / "eventinit"


def model_folder(kind: str, readable: str, identity: str) -> Path:
    """Return the folder of one source: named for people, and by a hash of its identity so that none is shared."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "--", readable).strip("-.")[-_READABLE_LENGTH:].lstrip("-.")
    return cache_root() / kind / f"{name}-{sha256(identity.encode()).hexdigest()[:10]}"


def safe_path(source: str, folder: Path, key: str) -> Path:
    """Return the path of a key inside a folder.

    Raises:
        UnsafeKeyError: The key, or a symbolic link on its way, would lead out of the folder or into our own files.
    """
    return safe_paths(source, folder, [key])[key]


def safe_paths(source: str, folder: Path, keys: Iterable[str]) -> dict[str, Path]:
    """Return the path of each key inside a folder.

    Raises:
        UnsafeKeyError: One of them would lead out of the folder, or two would be one file where case does not count.
    """
    root = folder.resolve()
    inside: dict[Path, bool] = {}
    paths: dict[str, Path] = {}
    folded: dict[str, str] = {}
    for key in keys:
        path = _path_of(source, folder, key)
        if path.parent not in inside:
            inside[path.parent] = path.parent.resolve().is_relative_to(root)
        if not inside[path.parent]:
            raise _through_a_link(source, folder, key)
        other = folded.setdefault(_fold(key), key)
        if other != key:
            raise UnsafeKeyError(source, f"the keys {other!r} and {key!r} differ only in case or form; rename one")
        paths[key] = path
    return paths


def _fold(key: str) -> str:
    """Return what two names have in common that some disks cannot tell apart."""
    return normalize("NFC", normalize("NFC", key).casefold())


def _path_of(source: str, folder: Path, key: str) -> Path:
    segments = key.split("/")
    if any(_is_unsafe(segment) for segment in segments) or _fold(segments[0]) == PRIVATE:
        raise UnsafeKeyError(source, f"the key {key!r} cannot be a path in the model's folder; rename the object")
    return folder.joinpath(*segments)


def _through_a_link(source: str, folder: Path, key: str) -> UnsafeKeyError:
    return UnsafeKeyError(
        source, f"the key {key!r} leads out of {folder} through a symbolic link; remove the link from the folder"
    )


def _is_unsafe(segment: str) -> bool:
    return segment in {"", ".", ".."} or "\\" in segment or "\0" in segment
