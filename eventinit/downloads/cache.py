"""Where fetched models lie on this machine, and which path an object's key stands for."""

import os
import re
from hashlib import sha256
from pathlib import Path

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
    segments = key.split("/")
    if any(_is_unsafe(segment) for segment in segments) or segments[0] == PRIVATE:
        raise UnsafeKeyError(source, f"the key {key!r} cannot be a path in the model's folder; rename the object")
    path = folder.joinpath(*segments)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise UnsafeKeyError(
            source,
            f"the key {key!r} leads out of {folder} through a symbolic link; remove the link from the folder",
        )
    return path


def _is_unsafe(segment: str) -> bool:
    return segment in {"", ".", ".."} or "\\" in segment or "\0" in segment
