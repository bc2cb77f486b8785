"""Models on the Hugging Face Hub, in huggingface_hub's own cache."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, final

from anyio.lowlevel import current_token

from eventinit.downloads.file_set import allow_patterns, ignore_patterns, is_wanted
from eventinit.downloads.hub_errors import hub_error
from eventinit.downloads.hub_progress import FetchStoppedError, HubProgress
from eventinit.downloads.local_folder import sizes_of
from eventinit.logs import log_event
from eventinit.ports import DownloadMode, DownloadResult, FetchProgress
from eventinit.threads import run_in_thread

STOP_PATIENCE_S = 10.0


@final
class HubSource:
    """A repository and revision of the Hub; what the cache holds completely needs no network.

    ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` count as they are when huggingface_hub is first
    imported. ``endpoint`` and ``cache_dir`` override them.
    """

    def __init__(
        self,
        repository: str,
        revision: str | None = None,
        *,
        endpoint: str | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._repository = repository
        self._revision = revision or "main"
        self._source = f"{repository}@{revision}" if revision else repository
        self._endpoint = endpoint
        self._cache_dir = cache_dir

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """Return the cached snapshot, or complete it from the Hub first."""
        started = monotonic()
        stop = threading.Event()
        work = partial(self._fetch, mode, HubProgress(report, current_token(), stop))
        name = f"fetch of {self._source}"
        path, sizes, fetched = await run_in_thread(work, name=name, hurry=stop, patience_s=STOP_PATIENCE_S)
        return DownloadResult(path, self._source, mode, len(sizes), sum(sizes), fetched, monotonic() - started)

    def _fetch(self, mode: DownloadMode, progress: HubProgress) -> tuple[Path, list[int], int]:
        if mode == "NONE":
            return self._repository_folder(), [], 0
        try:
            path = self._cached(mode) or self._download(mode, progress)
            sizes = sizes_of(path, mode)
            progress.end(sizes)
        except FetchStoppedError:
            raise
        except Exception as error:  # huggingface_hub and its HTTP client share no root
            raise hub_error(error, self._source) from error
        return path, sizes, min(progress.bytes_fetched, sum(sizes))

    def _cached(self, mode: DownloadMode) -> Path | None:
        """Return the snapshot if all files of the mode are known to be there."""
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

        # Without the listing huggingface_hub would take any folder, however partial, for the whole.
        with suppress(CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
            get_cached_repo_tree(self._repository, revision=self._revision, cache_dir=self._cache_dir)
            return self._snapshot(mode, local_files_only=True)
        return None

    def _download(self, mode: DownloadMode, progress: HubProgress) -> Path:
        try:
            self._announce(mode, progress)
        except FetchStoppedError:
            raise
        except Exception as error:  # noqa: BLE001
            # The next call meets the same trouble; it knows when the cache will do, and what to raise when not.
            log_event(logging.DEBUG, "hub_sizes_unknown", source=self._source, problem=type(error).__name__)
        return self._snapshot(mode, tqdm_class=progress.bar_class())

    def _announce(self, mode: DownloadMode, progress: HubProgress) -> None:
        """Ask for the sizes of all files in one request, so that the total is known from the start."""
        from huggingface_hub import HfApi, try_to_load_from_cache

        api = HfApi(endpoint=self._endpoint)
        info = api.model_info(self._repository, revision=self._revision, files_metadata=True)
        progress.check()
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if is_wanted(mode, file.rfilename)}
        cached = [
            size
            for name, size in sizes.items()
            if isinstance(try_to_load_from_cache(self._repository, name, self._cache_dir, info.sha), str)
        ]
        progress.begin(list(sizes.values()), cached)

    def _snapshot(self, mode: DownloadMode, **how: Any) -> Path:
        path = _hub().snapshot_download(
            self._repository,
            revision=self._revision,
            endpoint=self._endpoint,
            cache_dir=self._cache_dir,
            allow_patterns=allow_patterns(mode),
            ignore_patterns=ignore_patterns(mode),
            **how,
        )
        return Path(path)

    def _repository_folder(self) -> Path:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        cache = self._cache_dir or Path(constants.HF_HUB_CACHE)
        return cache / repo_folder_name(repo_id=self._repository, repo_type="model")


def _hub() -> Any:
    import huggingface_hub

    return huggingface_hub
