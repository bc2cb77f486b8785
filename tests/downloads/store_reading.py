"""How tests read a store: as the transfer does, and whole."""

from collections.abc import Sequence
from contextlib import aclosing
from types import AsyncGeneratorType
from typing import Any, cast

from eventinit.downloads.remote import RemoteFile, Store


async def read(store: Store, file: RemoteFile, start: int = 0, end: int | None = None) -> bytes:
    """Return the bytes of a range, by default all."""
    pieces = cast("AsyncGeneratorType[memoryview, Any]", store.read(file, start, file.size if end is None else end))
    found = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            found += piece
    return bytes(found)


async def read_all(store: Store) -> dict[str, bytes]:
    """Return the content of every file that the store lists, by name."""
    return {file.name: await read(store, file) for file in await store.list()}


def named(files: Sequence[RemoteFile], name: str) -> RemoteFile:
    """Return the file of this name."""
    (found,) = [file for file in files if file.name == name]
    return found
