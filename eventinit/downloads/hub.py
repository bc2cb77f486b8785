"""Models on the Hugging Face Hub, in huggingface_hub's own cache."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar, final

from anyio import sleep

from eventinit.downloads.file_set import is_wanted
from eventinit.downloads.hub_cache import HubFile, RepositoryCache, is_commit
from eventinit.downloads.hub_errors import OFFLINE, hub_error
from eventinit.downloads.hub_inventory import record_fetch
from eventinit.downloads.hub_process import ChildFetch
from eventinit.downloads.hub_transfer import Job
from eventinit.downloads.manifest import finished_now
from eventinit.downloads.reading import backoff_s
from eventinit.errors import AccessDeniedError, DownloadError, StoreUnavailableError
from eventinit.logs import log_event
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings, FetchProgress
from eventinit.threads import run_in_thread

T = TypeVar("T")

_DEFAULT = DownloadSettings()
_ASK_TIMEOUT_S = 5.0
_PATIENCE_S = 0.5


@final
class HubSource:
    """A repository and revision of the Hub, fetched at the commit that the revision is when the fetch begins.

    What the cache holds completely takes one request, for the commit of a branch or tag, and none for a commit. When
    the Hub does not answer that one, the last known commit is used if it is complete, with a warning.

    ``HF_HOME``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` count as they are when huggingface_hub is first imported.
    ``endpoint`` and ``cache_dir`` override them. The token is what huggingface_hub finds, ``HF_TOKEN`` or a login.
    """

    can_be_shared = False

    def __init__(
        self,
        repository: str,
        revision: str | None = None,
        settings: DownloadSettings = _DEFAULT,
        *,
        endpoint: str | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._repository = repository
        self._revision = revision or "main"
        self._source = f"{repository}@{revision}" if revision else repository
        self._settings = settings
        self._endpoint = endpoint
        self._cache_dir = cache_dir

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """Return the cached snapshot, or complete it from the Hub first; the result's source names the commit."""
        started = monotonic()
        cache = await self._in_thread(self._cache)
        if mode == "NONE":
            return DownloadResult(cache.folder, self._source, mode, 0, 0, 0, monotonic() - started)
        commit = await self._commit(cache, mode)
        files = await self._in_thread(partial(self._complete, cache, commit, mode))
        fetched = 0
        if files is None or self._settings.verify == "full":
            fetched = await self._fetch(cache, commit, mode, report)
            files = await self._in_thread(partial(self._complete, cache, commit, mode)) or []
        await self._in_thread(partial(self._record, cache, commit, mode, files, fetched))
        size = sum(file.size for file in files)
        report(FetchProgress(size, size, len(files), len(files)))
        source = f"{self._repository}@{commit}"
        return DownloadResult(cache.snapshot(commit), source, mode, len(files), size, fetched, monotonic() - started)

    async def _commit(self, cache: RepositoryCache, mode: DownloadMode) -> str:
        """Return the commit that the revision is now, or was when the Hub last told."""
        tries = 0
        while True:
            answer = await self._in_thread(partial(self._ask, cache, mode))
            if isinstance(answer, str):
                return answer
            tries += 1
            if not isinstance(answer, StoreUnavailableError) or _is_offline() or tries >= self._settings.attempts:
                raise answer
            await sleep(backoff_s(tries))

    def _ask(self, cache: RepositoryCache, mode: DownloadMode) -> str | DownloadError:
        if is_commit(self._revision):
            return self._revision
        known = cache.commit_of(self._revision)
        usable = known if known and self._complete(cache, known, mode) is not None else None
        if _is_offline():
            return known or StoreUnavailableError(self._source, OFFLINE)
        try:
            return self._current_commit()
        except Exception as error:  # noqa: BLE001 - huggingface_hub and its HTTP client share no root
            refusal = hub_error(error, self._source, self._endpoint)
        if usable is None or not isinstance(refusal, StoreUnavailableError | AccessDeniedError):
            return refusal
        log_event(logging.WARNING, "hub_not_asked", source=self._source, used=usable, problem=refusal.problem)
        return usable

    def _current_commit(self) -> str:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint)
        commit = api.model_info(self._repository, revision=self._revision, timeout=_ASK_TIMEOUT_S).sha
        if commit is None or not is_commit(commit):
            raise StoreUnavailableError(self._source, "the Hub names no commit of the revision; check HF_ENDPOINT")
        return commit

    def _complete(self, cache: RepositoryCache, commit: str, mode: DownloadMode) -> list[HubFile] | None:
        """Return the files of the mode if all of them are there."""
        files = cache.listing(commit)
        if files is None:
            return None
        chosen = [file for file in files if is_wanted(mode, file.name, self._settings)]
        return chosen if all(cache.holds(commit, file) for file in chosen) else None

    async def _fetch(
        self, cache: RepositoryCache, commit: str, mode: DownloadMode, report: Callable[[FetchProgress], None]
    ) -> int:
        offline = _is_offline()
        if offline and cache.listing(commit) is None:
            raise StoreUnavailableError(self._source, OFFLINE)
        job = Job(
            self._repository, commit, self._source, self._endpoint, str(cache.folder.parent), mode, self._settings
        )
        child = ChildFetch(job, _endpoint(self._endpoint), offline, report)
        await child.run()
        return child.bytes_fetched

    def _record(
        self, cache: RepositoryCache, commit: str, mode: DownloadMode, files: Sequence[HubFile], fetched: int
    ) -> None:
        """Remember the commit of the revision, now that it is complete, and that it was fetched by us if it was."""
        settings = self._settings
        done = finished_now(mode, f"{self._repository}@{commit}", [file.size for file in files])
        done = replace(done, include=tuple(settings.include), exclude=tuple(settings.exclude))
        try:
            cache.record_commit(self._revision, commit)
            record_fetch(cache, done, fetched=fetched > 0)
        except OSError as error:  # such as a cache that may only be read
            log_event(logging.DEBUG, "hub_commit_not_recorded", source=self._source, problem=type(error).__name__)

    def _cache(self) -> RepositoryCache:
        from huggingface_hub import constants

        return RepositoryCache(self._cache_dir or Path(constants.HF_HUB_CACHE), self._repository)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await run_in_thread(work, name=f"fetch of {self._source}", patience_s=_PATIENCE_S)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _endpoint(endpoint: str | None) -> str:
    from huggingface_hub import constants

    return endpoint or constants.ENDPOINT
