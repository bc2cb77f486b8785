"""Where models come from, one file per kind of source."""

import re
from collections.abc import Sequence
from pathlib import Path

from eventinit.downloads.hub import HubSource
from eventinit.downloads.local_folder import LocalFolderSource
from eventinit.downloads.peer_store import Peer
from eventinit.downloads.store_source import StoreSource
from eventinit.downloads.stores import SCHEMES, open_store
from eventinit.errors import ConfigError
from eventinit.ports import DownloadSettings, ModelSource

__all__ = ["HubSource", "LocalFolderSource", "StoreSource", "open_source"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HUB_ID = re.compile(r"(?P<repository>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^@\s]+))?")
_SUPPORTED = (
    "use a local folder, a Hugging Face id such as org/name or org/name@revision, or a URI: s3://bucket/prefix,"
    " gs://bucket/prefix, az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix, https://host/path"
)
_DEFAULTS = DownloadSettings()


def open_source(
    model_source: str, *mirrors: str, settings: DownloadSettings = _DEFAULTS, peer: Peer | None = None
) -> ModelSource:
    """Return the source that a string names: a local folder, a Hugging Face id or a URI; several URIs are mirrors.

    What exists as a folder, or is written like a path, is a folder; ``org/name`` is a Hub id otherwise. A ``peer`` has
    the files of a URI already, and is asked first.

    Raises:
        ConfigError: The string names none of these, or one of several is no URI.
    """
    if mirrors or _SCHEME.match(model_source):
        return _open_stores([model_source, *mirrors], settings, peer)
    if _is_path(model_source):
        return LocalFolderSource(model_source)
    hub_id = _HUB_ID.fullmatch(model_source)
    if not hub_id:
        raise ConfigError("model_source", [f"{model_source!r} is no folder, Hugging Face id or URI; {_SUPPORTED}"])
    return HubSource(hub_id["repository"], hub_id["revision"], settings)


def _is_path(model_source: str) -> bool:
    if model_source.startswith(("/", "./", "../", "~")) or model_source in {".", ".."}:
        return True
    return bool(model_source) and Path(model_source).is_dir()


def _open_stores(uris: Sequence[str], settings: DownloadSettings, peer: Peer | None) -> ModelSource:
    for uri in uris:
        if not _SCHEME.match(uri):
            raise ConfigError("model_source", [f"{uri!r} cannot be one of several mirrors; these are URIs"])
        if not uri.lower().startswith(SCHEMES):
            raise ConfigError("model_source", [f"{uri.partition('://')[0]}:// is not supported; {_SUPPORTED}"])
    return StoreSource([open_store(uri, settings) for uri in uris], settings, peer)
