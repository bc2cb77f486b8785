"""Stores of models that are reached over a network, one file per kind, chosen by the URI."""

from collections.abc import Callable
from urllib.parse import urlsplit

from eventinit.downloads.remote import Store
from eventinit.downloads.stores.address import Location
from eventinit.downloads.stores.azure import AzureModels
from eventinit.downloads.stores.gcs import GcsModels
from eventinit.downloads.stores.http import HttpModels
from eventinit.downloads.stores.s3 import S3Models
from eventinit.errors import ConfigError
from eventinit.ports import DownloadSettings

__all__ = ["SCHEMES", "open_store"]


def open_store(uri: str, settings: DownloadSettings) -> Store:
    """Return the store that a URI names, with credentials and endpoint from the environment; nothing is asked yet.

    Raises:
        ConfigError: The scheme is none of ``SCHEMES``, or the URI names no place.
    """
    scheme = uri.partition("://")[0].lower()
    if scheme not in _KINDS:
        raise ConfigError("model_source", [f"{scheme}:// is not supported; use one of {', '.join(SCHEMES)}"])
    return _KINDS[scheme](uri, settings)


def _s3(uri: str, settings: DownloadSettings) -> Store:
    return S3Models(Location.of(uri, "s3://bucket/prefix"), settings)


def _gcs(uri: str, settings: DownloadSettings) -> Store:
    return GcsModels(Location.of(uri, "gs://bucket/prefix"), settings)


def _azure(uri: str, settings: DownloadSettings) -> Store:
    return AzureModels(Location.of(uri, "az://container/prefix"), settings)


def _data_lake(uri: str, settings: DownloadSettings) -> Store:
    container, _, host = urlsplit(uri).netloc.rpartition("@")
    if not container:
        return _azure(uri, settings)
    if ":" in container:
        raise ConfigError("model_source", ["a Data Lake URI is abfss://container@account.dfs.core.windows.net/prefix"])
    location = Location.of(uri.replace(f"{container}@{host}", container, 1), "abfss://container@account…/prefix")
    source = f"abfss://{container}@{host}/{location.prefix}".rstrip("/")
    return AzureModels(Location(source, container, location.prefix), settings, host)


_KINDS: dict[str, Callable[[str, DownloadSettings], Store]] = {
    "s3": _s3,
    "gs": _gcs,
    "az": _azure,
    "abfs": _data_lake,
    "abfss": _data_lake,
    "http": HttpModels,
    "https": HttpModels,
}
SCHEMES = tuple(f"{scheme}://" for scheme in _KINDS)
"""How the URIs of stores begin."""
