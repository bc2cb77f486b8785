"""Buckets of Google Cloud Storage."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import quote

from obstore.store import GCSStore

from eventinit.downloads.remote import Checksum
from eventinit.downloads.stores.address import Location, without_user
from eventinit.downloads.stores.errors import Place
from eventinit.downloads.stores.metadata_service import is_true, metadata_service_answers
from eventinit.downloads.stores.object_store import ObjectStore
from eventinit.ports import DownloadSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_KEYS = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")
_CREDENTIALS = (*_KEYS, "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_BEARER_TOKEN")
_GCLOUD_LOGIN = Path(".config/gcloud/application_default_credentials.json")
_GOOGLE = "https://storage.googleapis.com"


@final
class GcsModels(ObjectStore):
    """``gs://bucket/prefix``, with the credentials of the ``GOOGLE_…`` environment variables or of ``gcloud``.

    Without any, and without a machine of Google's own around, the bucket is asked as a public one. So is an emulator,
    which ``STORAGE_EMULATOR_HOST`` names as for Google's own tools; ``GOOGLE_BASE_URL`` names another endpoint.
    """

    def __init__(self, location: Location, settings: DownloadSettings) -> None:
        self._bucket = location.container
        self._emulator = _emulator()
        self._is_anonymous = bool(self._emulator) or is_true(os.environ.get("GOOGLE_SKIP_SIGNATURE"))
        self._endpoint = self._emulator or os.environ.get("GOOGLE_BASE_URL", "").rstrip("/")
        place = Place(
            location.source,
            endpoint=without_user(self._endpoint) or "Google Cloud Storage",
            holder=f"bucket {self._bucket!r}",
            access="set GOOGLE_APPLICATION_CREDENTIALS to the key file of an account that may read it"
            " (or run: gcloud auth application-default login)",
            setting="STORAGE_EMULATOR_HOST" if self._emulator else "GOOGLE_BASE_URL",
            region=None,
            stall_timeout_s=settings.stall_timeout_s,
        )
        super().__init__(place, location.prefix, settings)

    def _open(self, options: "ClientConfig", retries: "RetryConfig") -> GCSStore:
        how: dict[str, Any] = {"base_url": self._endpoint} if self._endpoint else {}
        if self._is_anonymous:
            how["skip_signature"] = True
        return GCSStore(self._bucket, client_options=options, retry_config=retries, **how)

    async def _require_access(self) -> None:
        if self._is_anonymous or any(os.environ.get(name) for name in _CREDENTIALS):
            return
        if (Path.home() / _GCLOUD_LOGIN).exists():
            return
        self._is_anonymous = not await metadata_service_answers("GCE_METADATA_HOST")

    @property
    def _signs_here(self) -> bool:
        # Without the key of a service account, Google is asked for each signature.
        return self._is_anonymous or _has_private_key()

    def _address(self, key: str) -> str | None:
        if self._is_anonymous:
            return f"{self._endpoint or _GOOGLE}/{self._bucket}/{quote(key)}"
        return self._signed(key)

    def _checksum_in(self, headers: Mapping[str, str]) -> Checksum | None:
        """Take the MD5, or the CRC32C where there is no MD5: of objects that were composed of parts."""
        if headers.get("x-goog-stored-content-encoding", "identity") != "identity":
            return None  # it is that of the compressed form
        pairs = (pair.strip().partition("=") for pair in headers.get("x-goog-hash", "").split(","))
        found = {name: value for name, _, value in pairs}
        for algorithm in ("md5", "crc32c"):
            if value := found.get(algorithm):
                return Checksum(algorithm, base64.b64decode(value).hex())
        return None


def _has_private_key() -> bool:
    if any(map(os.environ.get, _KEYS)):
        return True
    try:
        said = json.loads(Path(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and "private_key" in said


def _emulator() -> str:
    """Return the emulator's address; Google's tools take it with and without a scheme."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    return host if not host or "://" in host else f"http://{host}"
