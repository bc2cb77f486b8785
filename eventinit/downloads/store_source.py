"""Models in any store: list, choose, compare with what is there, and fetch the rest."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import final

from anyio import to_thread

from eventinit.downloads.cache import model_folder, safe_path, safe_paths
from eventinit.downloads.disk_errors import disk_errors
from eventinit.downloads.disk_space import require_space
from eventinit.downloads.fetch_state import FetchState
from eventinit.downloads.file_set import DEFAULTS, is_wanted
from eventinit.downloads.manifest import finished_now
from eventinit.downloads.mirrors import Mirrors
from eventinit.downloads.model_root import require_root
from eventinit.downloads.partial_file import left_in, partial_path, read_journal, remove_partial
from eventinit.downloads.peer_store import Peer, PeerStore
from eventinit.downloads.plan import make_plan
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.downloads.transfer import Transfer
from eventinit.downloads.workspace import Workspace, open_workspace
from eventinit.errors import ModelNotFoundError
from eventinit.ports import DownloadMode, DownloadResult, DownloadSettings, FetchProgress


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a fetch brings.

    Attributes:
        files: The files that its mode wants.
        paths: The final path of every listed file, wanted or not, by its name.
        bytes_total: The size of the wanted files.
    """

    files: Sequence[RemoteFile]
    paths: Mapping[str, Path]
    bytes_total: int


@final
class StoreSource:
    """All files of a model in a store, or in several that mirror it, kept in a folder of the cache.

    The folder belongs to the first store. Every fetch into it, of this process or of another on this machine, shares
    what the others fetch. A peer is asked before the stores, which follow as its mirrors.
    """

    can_be_shared = True

    def __init__(
        self, stores: Sequence[Store], settings: DownloadSettings = DEFAULTS, peer: Peer | None = None
    ) -> None:
        peers = [PeerStore(stores[0], peer, settings)] if peer else []
        self._stores: tuple[Store, ...] = (*peers, *stores)
        self._settings = settings
        self._source = stores[0].source

    async def fetch(self, mode: DownloadMode, report: Callable[[FetchProgress], None]) -> DownloadResult:
        """List the model and transfer what the folder does not hold completely."""
        started = monotonic()
        folder = self._folder()
        if mode == "NONE":
            return DownloadResult(folder, self._source, mode, 0, 0, 0, 0.0)
        mirrors = Mirrors(self._stores, self._settings)
        listed = await mirrors.list()
        with disk_errors(self._source, folder):
            chosen = await to_thread.run_sync(self._choose, mode, folder, listed)
        state = FetchState(len(chosen.files), chosen.bytes_total, report)
        async with open_workspace(self._source, folder) as workspace:
            await self._bring(workspace, mirrors, chosen, state)
            await workspace.run(partial(self._finish, workspace, mode, chosen, state))
        return DownloadResult(
            folder,
            self._source,
            mode,
            len(chosen.files),
            chosen.bytes_total,
            state.bytes_fetched,
            monotonic() - started,
        )

    def _choose(self, mode: DownloadMode, folder: Path, listed: Sequence[RemoteFile]) -> _Choice:
        names = [file.name for file in listed]
        if not names:
            raise ModelNotFoundError(self._source, "there are no files; check model_source")
        if not self._settings.include:  # whoever says what to take may take one model of several
            require_root(self._source, names)
        files = [file for file in listed if is_wanted(mode, file.name, self._settings)]
        paths = safe_paths(self._source, folder, names)
        return _Choice(files, paths, sum(file.size for file in files))

    def _folder(self) -> Path:
        scheme, _, rest = self._source.partition("://")
        return model_folder(scheme, rest, self._stores[0].identity)

    async def _bring(self, workspace: Workspace, mirrors: Mirrors, chosen: _Choice, state: FetchState) -> None:
        """Make the folder hold the chosen files."""
        store = mirrors.stores[mirrors.current]
        plan = await make_plan(workspace, chosen.files, chosen.paths, store, full=self._settings.verify == "full")
        there = sum(job.file.size for job in plan.held) + sum(job.counted for job in plan.missing)
        state.begin(len(plan.held), there)
        if plan.missing:
            workspace.needed_bytes = plan.needed_bytes
            await workspace.run(partial(require_space, self._source, workspace.folder, workspace.needed_bytes))
            await Transfer(workspace, mirrors, self._settings, state).run(plan.missing)
        state.end()

    def _finish(self, workspace: Workspace, mode: DownloadMode, chosen: _Choice, state: FetchState) -> None:
        """Leave in the folder what is the model's, and record the mode."""
        is_listed = partial(is_wanted, mode, settings=self._settings)
        _remove_vanished(workspace, chosen.paths.keys(), is_listed)
        _remove_needless(workspace, chosen.paths.keys(), is_listed)
        self._record(workspace, mode, [file.size for file in chosen.files], state)

    def _record(self, workspace: Workspace, mode: DownloadMode, sizes: Sequence[int], state: FetchState) -> None:
        """Record the mode; where that would say nothing new, only that the folder was used."""
        settings = self._settings
        done = replace(
            finished_now(mode, self._source, sizes), include=tuple(settings.include), exclude=tuple(settings.exclude)
        )
        known = {replace(mode, at=done.at) for mode in workspace.manifest.refresh().modes}
        if state.bytes_fetched or done not in known:
            workspace.manifest.finish(done)
        else:
            workspace.manifest.touch()


def _remove_vanished(workspace: Workspace, names: Set[str], is_listed: Callable[[str], bool]) -> None:
    """Remove fetched files that the store no longer has: old shards beside new ones would be loaded as well.

    A peer lists only what it has fetched itself: of other files nothing is known.
    """
    gone = sorted(filter(is_listed, set(workspace.manifest.refresh().files) - names))
    for name in gone:
        safe_path(workspace.source, workspace.folder, name).unlink(missing_ok=True)
    workspace.manifest.forget(gone)


def _remove_needless(workspace: Workspace, names: Set[str], is_listed: Callable[[str], bool]) -> None:
    """Remove what is left of files that are complete now, or no longer in the store, unless somebody is fetching them.

    A fetch that is killed as soon as a file is recorded cannot do so itself.
    """
    left = left_in(workspace.folder)
    named = {partial_path(workspace.folder, name): name for name in (names if left else ())}
    for path in left:
        name = named.get(path) or str(read_journal(path.with_suffix(".journal")).header.get("name", path.name))
        if is_listed(name) and workspace.locks.try_acquire(name):
            remove_partial(path)
            workspace.locks.release(name)
