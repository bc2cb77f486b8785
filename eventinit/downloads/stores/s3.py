"""Buckets of S3, and of stores that speak its protocol."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, final
from urllib.parse import quote

from obstore.store import S3Store

from eventinit.downloads.remote import Checksum
from eventinit.downloads.stores.address import Location, without_user
from eventinit.downloads.stores.errors import Place
from eventinit.downloads.stores.metadata_service import is_true, metadata_service_answers
from eventinit.downloads.stores.object_store import ObjectStore, bare
from eventinit.errors import AccessDeniedError
from eventinit.ports import DownloadSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CREDENTIALS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_SET_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary keys)"
_MD5 = re.compile(r"[0-9a-f]{32}")
_DIRECTORY_BUCKET = "--x-s3"
_IN_HEADERS = ("AWS_SSE_CUSTOMER_KEY_BASE64", "AWS_REQUEST_PAYER")


@final
class S3Models(ObjectStore):
    """``s3://bucket/prefix``, with the endpoint, region and credentials of the ``AWS_…`` environment variables."""

    def __init__(self, location: Location, settings: DownloadSettings) -> None:
        self._bucket = location.container
        self._address_of_store = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
        place = Place(
            location.source,
            endpoint=without_user(self._address_of_store) or "Amazon S3",
            holder=f"bucket {self._bucket!r}",
            access=f"{_SET_KEYS} of an identity that may read it",
            setting="AWS_ENDPOINT_URL",
            region="AWS_REGION",
            stall_timeout_s=settings.stall_timeout_s,
        )
        super().__init__(place, location.prefix, settings)

    def _open(self, options: "ClientConfig", retries: "RetryConfig") -> S3Store:
        return S3Store(self._bucket, client_options=options, retry_config=retries)

    async def _require_access(self) -> None:
        env = os.environ
        keys = [bool(env.get(name)) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        if all(keys):
            return
        if any(keys):
            raise AccessDeniedError(self.source, f"the environment has only half of the credentials; {_SET_KEYS}")
        if _is_anonymous() or any(env.get(name) for name in _CREDENTIALS):
            return
        is_asked = not is_true(env.get("AWS_EC2_METADATA_DISABLED"))
        if is_asked and await metadata_service_answers("AWS_METADATA_ENDPOINT"):
            return
        raise AccessDeniedError(
            self.source,
            f"there are no credentials in the environment; {_SET_KEYS}, or AWS_SKIP_SIGNATURE=true for a public bucket",
        )

    @property
    def _signs_here(self) -> bool:
        # What else a request has to say is not in an address.
        return not self._bucket.endswith(_DIRECTORY_BUCKET) and not any(map(os.environ.get, _IN_HEADERS))

    def _address(self, key: str) -> str | None:
        if not _is_anonymous():
            return self._signed(key)
        if is_true(os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")):
            return None
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        host = self._address_of_store.rstrip("/") or f"https://s3.{region}.amazonaws.com"
        return f"{host}/{self._bucket}/{quote(key)}"

    def _checksum_in(self, headers: Mapping[str, str]) -> Checksum | None:
        """Take the ETag for an MD5 where S3 documents that it is one.

        It is one for an object put in one piece, unencrypted or under S3's own key. Otherwise it is the MD5 of MD5s
        (with a dash) or, under a KMS or a customer's key and in directory buckets, some other number of the same form.
        S3's newer checksums are told only on a signed request header, which obstore does not send.
        """
        encryption = headers.get("x-amz-server-side-encryption", "AES256")
        is_foreign_key = "x-amz-server-side-encryption-customer-algorithm" in headers or encryption != "AES256"
        etag = bare(headers.get("etag")) or ""
        if is_foreign_key or self._bucket.endswith(_DIRECTORY_BUCKET) or not _MD5.fullmatch(etag):
            return None
        return Checksum("md5", etag)


def _is_anonymous() -> bool:
    return is_true(os.environ.get("AWS_SKIP_SIGNATURE"))
