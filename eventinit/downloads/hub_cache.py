"""The layout of huggingface_hub's cache, read and completed without importing it.

A repository's folder holds ``blobs`` named by content, ``snapshots/<commit>`` with links to them, ``refs/<revision>``
with the commit that a branch or tag was last known to be, and ``trees/<commit>.json`` with the list of all files.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final
from uuid import uuid4

_TREE_FORMAT = 1
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a commit.

    Attributes:
        name: Its path in the repository.
        size: Its size in bytes.
        git_id: git's id of what is committed: the content, or the pointer to it when the Hub stores it apart.
        sha256: The checksum of a content that the Hub stores apart.
        xet_hash: What the Xet storage calls the content, if it is there.
    """

    name: str
    size: int
    git_id: str
    sha256: str | None = None
    xet_hash: str | None = None

    @property
    def etag(self) -> str:
        """The name of the content, by which it lies in the cache."""
        return self.sha256 or self.git_id


@final
class RepositoryCache:
    """The folder of one model in a cache."""

    def __init__(self, cache_dir: Path, repository: str) -> None:
        name = "--".join(["models", *repository.split("/")])
        self.folder = cache_dir.expanduser().absolute() / name
        self._locks = self.folder.parent / ".locks" / name

    def commit_of(self, revision: str) -> str | None:
        """Return the commit that a revision was when it was last fetched."""
        if _COMMIT.fullmatch(revision):
            return revision
        with suppress(OSError):
            commit = (self.folder / "refs" / revision).read_text().strip()
            return commit if _COMMIT.fullmatch(commit) else None
        return None

    def record_commit(self, revision: str, commit: str) -> None:
        """Remember which commit a branch or tag is."""
        if revision != commit and _is_safe(revision) and self.commit_of(revision) != commit:
            _write(self.folder / "refs" / revision, commit)

    def listing(self, commit: str) -> list[HubFile] | None:
        """Return all files of a commit, or None when nothing readable tells them."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            tree = json.loads(self._tree(commit).read_text())
            if tree["format_version"] == _TREE_FORMAT:
                return [_file(name, entry) for name, entry in tree["files"].items()]
        return None

    def record_listing(self, commit: str, files: Iterable[HubFile]) -> None:
        """Remember all files of a commit, as huggingface_hub does."""
        tree = {"format_version": _TREE_FORMAT, "files": {file.name: _entry(file) for file in files}}
        _write(self._tree(commit), json.dumps(tree, indent=1))

    def snapshot(self, commit: str) -> Path:
        """Return the folder of a commit's files."""
        return self.folder / "snapshots" / commit

    def holds(self, commit: str, file: HubFile) -> bool:
        """Return whether a file is there in its full size."""
        try:
            return (self.snapshot(commit) / file.name).stat().st_size == file.size
        except OSError:
            return False

    def blob(self, file: HubFile) -> Path:
        """Return where the content of a file belongs."""
        return self.folder / "blobs" / file.etag

    def partial(self, file: HubFile) -> Path:
        """Return where the content is until it is complete; older versions of huggingface_hub continue it as well."""
        return self.blob(file).with_name(f"{file.etag}.incomplete")

    def lock(self, file: HubFile) -> Path:
        """Return the lock file that every huggingface_hub takes to fetch this content."""
        return self._locks / f"{file.etag}.lock"

    def bytes_there(self, file: HubFile) -> int:
        """Return how many bytes of a content have arrived, whoever fetches it."""
        for path in (self.blob(file), self.partial(file)):
            with suppress(OSError):
                return min(path.stat().st_size, file.size)
        return 0

    def link(self, commit: str, file: HubFile) -> None:
        """Show a content in the folder of a commit; it is copied where there are no links."""
        shown, blob = self.snapshot(commit) / file.name, self.blob(file)
        shown.parent.mkdir(parents=True, exist_ok=True)
        new = shown.with_name(f".{uuid4().hex}.tmp")
        try:
            try:
                new.symlink_to(os.path.relpath(blob, shown.parent))
            except OSError:
                shutil.copyfile(blob, new)
            new.replace(shown)
        finally:
            new.unlink(missing_ok=True)

    def forget(self, commit: str, file: HubFile) -> None:
        """Remove a content that is not what it should be, and its place in the folder of a commit."""
        shown = self.snapshot(commit) / file.name
        blob = self.blob(file)
        for path in (shown, blob.resolve() if blob.is_symlink() else blob, blob, self.partial(file)):
            path.unlink(missing_ok=True)

    def _tree(self, commit: str) -> Path:
        return self.folder / "trees" / f"{commit}.json"


def is_commit(revision: str) -> bool:
    """Return whether a revision is the full name of a commit, which never changes."""
    return _COMMIT.fullmatch(revision) is not None


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _file(name: str, entry: dict[str, Any]) -> HubFile:
    size = entry.get("lfs_size") or entry["size"]
    return HubFile(name, size, entry["blob_id"], entry.get("lfs_sha256"), entry.get("xet_hash"))


def _entry(file: HubFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"size": file.size, "blob_id": file.git_id}
    if file.sha256:
        entry |= {"lfs_sha256": file.sha256, "lfs_size": file.size}
    return entry | ({"xet_hash": file.xet_hash} if file.xet_hash else {})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        new.write_text(text)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
