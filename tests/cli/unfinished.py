"""A download that stops in the middle of a file."""

import anyio
import pytest

from eventinit.downloads.store_source import StoreSource
from eventinit.errors import DownloadError
from eventinit.ports import DownloadSettings
from tests.downloads.scripted_store import MIB, ScriptedStore, content, cut, ignore


def leave_unfinished(name: str) -> None:
    """Fetch until a large file is cut off in its middle."""
    files = {"config.json": b"{}", "model.bin": content(1, 8 * MIB)}
    store = ScriptedStore(files, source=f"s3://models/{name}", identity=name)
    store.script = lambda request: cut(after=4 * MIB) if request.name == "model.bin" else None
    source = StoreSource([store], DownloadSettings(attempts=1))
    with pytest.raises(DownloadError):
        anyio.run(source.fetch, "MODEL_AND_TOKENIZER", ignore)
