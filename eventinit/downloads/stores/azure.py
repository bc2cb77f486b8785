"""Containers of Azure Blob Storage and Data Lake Storage."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final
from urllib.parse import quote

from obstore.store import AzureStore

from eventinit.downloads.remote import Checksum
from eventinit.downloads.stores.address import Location, without_user
from eventinit.downloads.stores.errors import Place
from eventinit.downloads.stores.metadata_service import is_true, metadata_service_answers
from eventinit.downloads.stores.object_store import ObjectStore
from eventinit.errors import ConfigError
from eventinit.ports import DownloadSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_EMULATOR_ACCOUNT = "devstoreaccount1"
# Microsoft's published key of the emulator, the same everywhere; it opens nothing else.
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_KEY")
_SIGNATURES = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
_IDENTITIES = (
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "IDENTITY_ENDPOINT",
)
_ACCESS = (
    "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN"
    " or AZURE_STORAGE_CONNECTION_STRING of an account that may read it"
)


@final
class AzureModels(ObjectStore):
    """``az://container/prefix`` and ``abfss://container@account.dfs.core.windows.net/prefix``.

    The account and its credentials are those of the ``AZURE_STORAGE_…`` environment variables; without credentials,
    and without a machine of Azure's own around, the container is asked as a public one.
    """

    def __init__(self, location: Location, settings: DownloadSettings, host: str = "") -> None:
        self._container = location.container
        self._account = _Account.of_environment(host)
        place = Place(
            location.source,
            endpoint=without_user(self._account.endpoint),
            holder=f"container {self._container!r}",
            access=_ACCESS,
            setting="AZURE_STORAGE_ACCOUNT_NAME",
            region=None,
            stall_timeout_s=settings.stall_timeout_s,
        )
        self._is_anonymous = is_true(os.environ.get("AZURE_SKIP_SIGNATURE"))
        super().__init__(place, location.prefix, settings)

    def _open(self, options: "ClientConfig", retries: "RetryConfig") -> AzureStore:
        account = self._account
        how: dict[str, Any] = {"account_name": account.name, "endpoint": account.endpoint, "use_emulator": False}
        if account.key:
            how["account_key"] = account.key
        elif account.signature:
            how["sas_key"] = account.signature
        if self._is_anonymous:
            how["skip_signature"] = True
        return AzureStore(self._container, client_options=options, retry_config=retries, **how)

    async def _require_access(self) -> None:
        if self._is_anonymous or self._account.key or self._account.signature:
            return
        if not any(os.environ.get(name) for name in _IDENTITIES):
            self._is_anonymous = not await metadata_service_answers("AZURE_POD_IDENTITY_AUTHORITY_HOST")

    @property
    def _signs_here(self) -> bool:
        return self._is_anonymous or bool(self._account.key or self._account.signature)

    def _address(self, key: str) -> str | None:
        plain = f"{self._account.endpoint}/{self._container}/{quote(key)}"
        if self._is_anonymous:
            return plain
        if self._account.signature and not self._account.key:
            return f"{plain}?{self._account.signature}"
        return self._signed(key)

    def _checksum_in(self, headers: Mapping[str, str]) -> Checksum | None:
        """Take the MD5 that whoever uploaded the blob left with it; ``Content-MD5`` itself may be that of the range."""
        md5 = headers.get("x-ms-blob-content-md5")
        return Checksum("md5", base64.b64decode(md5).hex()) if md5 else None


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    endpoint: str
    key: str = ""
    signature: str = ""

    @classmethod
    def of_environment(cls, host: str) -> Self:
        """Return the account that the URI's host names, else the environment: single variables count first."""
        if is_true(os.environ.get("AZURE_STORAGE_USE_EMULATOR")):
            return cls._emulator()
        settings = _connection_string()
        if is_true(settings.get("usedevelopmentstorage")):
            return cls._emulator()
        name = host.partition(".")[0] or _first(_ACCOUNTS) or settings.get("accountname", "")
        endpoint = _first(("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")) or settings.get("blobendpoint", "")
        if not name and not endpoint:
            raise ConfigError("model_source", ["the URI names no storage account; set AZURE_STORAGE_ACCOUNT_NAME"])
        if not endpoint:
            suffix = settings.get("endpointsuffix", "core.windows.net")
            protocol = settings.get("defaultendpointsprotocol", "https")
            # Data Lake Storage is read through the blob endpoint of the same account.
            endpoint = f"https://{host.replace('.dfs.', '.blob.', 1)}" if host else f"{protocol}://{name}.blob.{suffix}"
        return cls(
            name or endpoint.partition("://")[2].partition(".")[0],
            endpoint.rstrip("/"),
            _first(_KEYS) or settings.get("accountkey", ""),
            (_first(_SIGNATURES) or settings.get("sharedaccesssignature", "")).removeprefix("?"),
        )

    @classmethod
    def _emulator(cls) -> Self:
        address = os.environ.get("AZURITE_BLOB_STORAGE_URL") or "http://127.0.0.1:10000"
        return cls(_EMULATOR_ACCOUNT, f"{address.rstrip('/')}/{_EMULATOR_ACCOUNT}", _EMULATOR_KEY)


def _connection_string() -> dict[str, str]:
    """Return the parts of ``AZURE_STORAGE_CONNECTION_STRING``, which obstore does not read, by lower-case name."""
    parts = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";")
    pairs = (part.strip().partition("=") for part in parts if part.strip())
    return {name.lower(): value for name, _, value in pairs}


def _first(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
