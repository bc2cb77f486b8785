"""All files of a job from the Hub: listed, weighed against the disk, and fetched side by side, small ones first."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, final

from eventinit.downloads.cache import safe_paths
from eventinit.downloads.disk_space import require_space
from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.hub_cache import HubFile, RepositoryCache
from eventinit.downloads.hub_file import FileFetch, Repository
from eventinit.downloads.hub_pace import Pace
from eventinit.ports import DownloadMode, DownloadSettings, FetchProgress

_LOOK_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What a child process is to fetch."""

    repository: str
    commit: str
    source: str
    endpoint: str | None
    cache_dir: str
    mode: DownloadMode
    settings: DownloadSettings

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` rebuilds the job from."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Job":
        """Return the job that another process has described."""
        settings: dict[str, Any] = value["settings"]
        settings |= {name: tuple(settings[name]) for name in ("include", "exclude")}
        values: dict[str, Any] = {**value, "settings": DownloadSettings(**settings)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Look:
    """How far a fetch is.

    Attributes:
        progress: What is there, never going back.
        fetched: How many bytes came over the network for this process.
        activity: A number that changes as long as anything happens at all.
        waiting_for: A file that is not there yet.
    """

    progress: FetchProgress
    fetched: int
    activity: int
    waiting_for: str | None


@final
class Transfer:
    """Fetches a job; ``look`` is called about ten times a second, and at the beginning and the end."""

    def __init__(self, job: Job, look: Callable[[Look], None]) -> None:
        cache = RepositoryCache(Path(job.cache_dir), job.repository)
        self._cache = cache
        self._job = job
        self._look = look
        self._pace = Pace(job.settings.max_bandwidth)
        self._repository = Repository(
            job.repository, job.commit, job.source, job.endpoint, cache, job.settings, self._pace
        )
        self._hashed = 0
        self._most = 0
        self._bytes_total = 0
        self._files_done = 0
        self._there: dict[str, int] = {}
        self._under_way: dict[str, HubFile] = {}
        self._ended = SimpleQueue[tuple[HubFile, Exception | None]]()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Bring every file of the job into the cache.

        Raises:
            DownloadError: A file is damaged, the disk is too small, or a name would leave the folder.
        """
        files = [file for file in self._files() if is_wanted(self._job.mode, file.name, self._job.settings)]
        missing = self._missing(files)
        self._check_disk(missing)
        self._there = {file.name: file.size for file in files}
        self._there |= {file.name: self._cache.bytes_there(file) for file in missing}
        self._bytes_total = sum(file.size for file in files)
        self._files_done = len(files) - len(missing)
        self._show()
        self._fetch(missing)
        self._cache.snapshot(self._job.commit).mkdir(parents=True, exist_ok=True)

    def _files(self) -> list[HubFile]:
        files = self._cache.listing(self._job.commit)
        if files is None:
            files = _listed(self._job)
            self._check_names(files)
            self._cache.record_listing(self._job.commit, files)
        self._check_names(files)
        return files

    def _check_names(self, files: list[HubFile]) -> None:
        safe_paths(self._job.source, self._cache.snapshot(self._job.commit), [file.name for file in files])
        safe_paths(self._job.source, self._cache.folder / "blobs", {file.etag for file in files})

    def _missing(self, files: list[HubFile]) -> list[HubFile]:
        if self._job.settings.verify == "full":
            return files
        return [file for file in files if not self._cache.holds(self._job.commit, file)]

    def _check_disk(self, missing: list[HubFile]) -> None:
        needed = sum(
            file.size - self._cache.bytes_there(file) for file in {file.etag: file for file in missing}.values()
        )
        require_space(self._job.source, self._cache.folder, needed, setting="HF_HOME")

    def _fetch(self, missing: list[HubFile]) -> None:
        # Not in a with block: that would wait for the other threads when one has failed.
        pool = ThreadPoolExecutor(self._job.settings.max_concurrency)
        for file in sorted(missing, key=lambda file: file.size):
            pool.submit(self._fetch_one, file)
        left, shown = len(missing), time.monotonic()
        while left:
            with suppress(Empty):
                self._settle(*self._ended.get(timeout=_LOOK_INTERVAL_S))
                left -= 1
            if time.monotonic() - shown >= _LOOK_INTERVAL_S or not left:
                self._show()
                shown = time.monotonic()
        pool.shutdown()

    def _fetch_one(self, file: HubFile) -> None:
        self._under_way[file.name] = file
        try:
            FileFetch(self._repository, file, self._count_hashed).run()
        except Exception as error:  # noqa: BLE001 - it is raised by the thread that waits
            self._ended.put((file, error))
        else:
            self._ended.put((file, None))

    def _settle(self, file: HubFile, error: Exception | None) -> None:
        if error is not None:
            raise error
        self._under_way.pop(file.name, None)
        self._there[file.name] = file.size
        self._files_done += 1

    def _count_hashed(self, count: int) -> None:
        with self._lock:
            self._hashed += count

    def _show(self) -> None:
        under_way = list(self._under_way.values())
        for file in under_way:
            self._there[file.name] = self._cache.bytes_there(file)
        there = sum(self._there.values())
        self._most = max(self._most, there)
        waiting_for = max(under_way, key=lambda file: file.size - self._there[file.name], default=None)
        self._look(
            Look(
                FetchProgress(self._most, self._bytes_total, self._files_done, len(self._there)),
                self._pace.bytes_fetched,
                there + self._hashed + self._pace.bytes_fetched + self._files_done,
                waiting_for.name if waiting_for else None,
            )
        )


def _listed(job: Job) -> list[HubFile]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=job.endpoint)
    return [
        HubFile(
            entry.path,
            entry.lfs.size if entry.lfs else entry.size,
            entry.blob_id,
            entry.lfs.sha256 if entry.lfs else None,
            entry.xet_hash,
        )
        for entry in api.list_repo_tree(job.repository, recursive=True, revision=job.commit)
        if isinstance(entry, RepoFile)
    ]
