"""How tests read a store: as the transfer does, and whole."""

from collections.abc import Callable, Sequence

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.interruption import Interruption
from eventinit.downloads.line import Line
from eventinit.downloads.remote import RemoteFile, Store
from eventinit.threads import run_in_thread


async def copy(store: Store, file: RemoteFile, write: Callable[[memoryview], object]) -> None:
    """Hand a whole file to ``write``, in a thread which ends when the caller is cancelled."""
    await _copy(store, file, (0, file.size), write)


async def read(store: Store, file: RemoteFile, start: int = 0, end: int | None = None) -> bytes:
    """Return the bytes of a range, by default all."""
    found = bytearray()
    await _copy(store, file, (start, file.size if end is None else end), found.extend)
    return bytes(found)


async def read_all(store: Store) -> dict[str, bytes]:
    """Return the content of every file that the store lists, by name."""
    return {file.name: await read(store, file) for file in await store.list()}


def named(files: Sequence[RemoteFile], name: str) -> RemoteFile:
    """Return the file of this name."""
    (found,) = [file for file in files if file.name == name]
    return found


async def _copy(store: Store, file: RemoteFile, span: tuple[int, int], write: Callable[[memoryview], object]) -> None:
    line = Line(1024 * 1024, Bandwidth(None))
    line.hurry = Interruption()
    try:
        await run_in_thread(lambda: store.copy(file, *span, write, line), name="reading", hurry=line.hurry)
    finally:
        line.close()
