"""The stores that have one model: which one is asked for a file, and what happens when it fails."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from anyio import Lock, current_time, sleep

from eventinit.downloads.reading import GivenUpError, backoff_s
from eventinit.downloads.remote import CHECKSUM_WORTH_BYTES, RemoteFile, Store
from eventinit.errors import DownloadError, StalledError, StoreSilentError, StoreUnavailableError
from eventinit.logs import log_event
from eventinit.ports import DownloadSettings


@final
class Mirrors:
    """Stores of the same model, the first one preferred for as long as it answers."""

    def __init__(self, stores: Sequence[Store], settings: DownloadSettings) -> None:
        self.stores = stores
        self.current = 0
        self._settings = settings
        self._listings: dict[int, dict[str, RemoteFile]] = {}
        self._refusals: dict[int, str] = {}
        self._lock = Lock()

    @property
    def source(self) -> str:
        """What results and errors call the model: its first store."""
        return self.stores[0].source

    async def list(self) -> Sequence[RemoteFile]:
        """List the files of the model as the first store has them that answers."""
        given_up: list[GivenUpError] = []
        for index in range(len(self.stores)):
            try:
                files = await self._list(index)
            except GivenUpError as error:
                given_up.append(error)
                self._switch(index)
            else:
                self.current = index
                return files
        raise _final_error("the list of files", self.stores, given_up)

    async def find(self, index: int, name: str) -> RemoteFile | None:
        """Return what one store has under a name; None as well when the store cannot be asked."""
        async with self._lock:
            if index not in self._listings:
                try:
                    await self._list(index)
                except (GivenUpError, DownloadError) as error:
                    self._listings[index] = {}
                    self._refusals[index] = error.problem
        return self._listings[index].get(name)

    def absence(self, index: int, name: str) -> GivenUpError:
        """Return why one store does not have a file."""
        problem = self._refusals.get(index, f"has no {name} of the same size")
        source = self.stores[index].source
        return GivenUpError(source, StoreUnavailableError(source, problem), 0.0)

    def prefer_after(self, index: int) -> None:
        """Begin with the next store from now on, unless that was changed already."""
        if self.current == index:
            self._switch(index)

    def _switch(self, index: int) -> None:
        self.current = (index + 1) % len(self.stores)
        if len(self.stores) > 1:
            log_event(
                logging.WARNING,
                "mirror_switched",
                source=self.stores[index].source,
                mirror=self.stores[self.current].source,
            )

    async def _list(self, index: int) -> Sequence[RemoteFile]:
        began = current_time()
        for failures in range(1, self._settings.attempts + 1):
            try:
                files = await self.stores[index].list()
            except StoreUnavailableError as error:
                if failures == self._settings.attempts:
                    raise GivenUpError(self.stores[index].source, error, current_time() - began) from error
                await sleep(backoff_s(failures))
            else:
                self._listings[index] = {file.name: file for file in files}
                return files
        raise AssertionError("there is at least one attempt")


@final
class Place:
    """Where one file is fetched from; it moves from store to store, asking each once.

    Attributes:
        store: The store to ask now.
        file: The file as this store has it.
    """

    def __init__(self, mirrors: Mirrors, planned: RemoteFile) -> None:
        self._mirrors = mirrors
        self._planned = planned
        self._index = mirrors.current
        self._given_up: list[GivenUpError] = []
        self.store = mirrors.stores[self._index]
        self.file = planned

    @property
    def known_by(self) -> frozenset[object]:
        """What tells this content from any other: its checksum, and its version in this store."""
        version = self.file.version and (self.store.identity, self.file.version)
        return frozenset({self.file.checksum, version} - {None})

    async def enter(self) -> None:
        """Find the file in the preferred store, and its checksum if it is worth a request."""
        if not await self._settle():
            self._given_up.append(self._mirrors.absence(self._index, self._planned.name))
            await self._next()

    async def advance(self, failure: GivenUpError) -> None:
        """Go on to the next store that has the file.

        Raises:
            DownloadError: There is none left.
        """
        self._given_up.append(failure)
        self._mirrors.prefer_after(self._index)
        await self._next()

    async def _next(self) -> None:
        stores = self._mirrors.stores
        while len(self._given_up) < len(stores):
            self._index = (self._index + 1) % len(stores)
            if await self._settle():
                return
            self._given_up.append(self._mirrors.absence(self._index, self._planned.name))
        raise _final_error(self._planned.name, stores, self._given_up)

    async def _settle(self) -> bool:
        """Take the file from the store at hand, and return whether it has it."""
        self.store = self._mirrors.stores[self._index]
        found = await self._mirrors.find(self._index, self._planned.name)
        if found is None or found.size != self._planned.size:
            return False
        self.file = found
        if found.size >= CHECKSUM_WORTH_BYTES and found.checksum is None:
            self.file = replace(found, checksum=await self.store.checksum(found))
        return True


def _final_error(file: str, stores: Sequence[Store], given_up: Sequence[GivenUpError]) -> DownloadError:
    """Return the error for what no store could give: a stall if silence was the end of it everywhere."""
    sources = [store.source for store in stores]
    last = given_up[-1]
    if all(isinstance(failure.error, StoreSilentError) for failure in given_up):
        error: DownloadError = StalledError(sources[0], file, sum(failure.silent_s for failure in given_up), sources)
    elif len(given_up) == 1:
        error = StoreUnavailableError(sources[0], f"{file}: {last.error.problem} (tried for {last.silent_s:.1f} s)")
    else:
        tried = "; ".join(f"{failure.source}: {failure.problem}" for failure in given_up)
        error = StoreUnavailableError(sources[0], f"{file} cannot be had from any mirror: {tried}")
    error.__cause__ = last.error
    return error
