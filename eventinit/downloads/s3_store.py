"""An S3 bucket as the environment describes it, with bounds on how long a dead one is waited for."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from obstore.store import S3Store

from eventinit.errors import AccessDeniedError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# A server that is down is known after 6 attempts in 5 seconds; one that swallows packets or never answers after 10 to
# 15 seconds.
_RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=2), "base": 2},
}
_CONNECT_TIMEOUT = timedelta(seconds=4)
_READ_TIMEOUT = timedelta(seconds=10)
_REQUEST_TIMEOUT = timedelta(minutes=10)  # one range over a slow line; a stalled one ends by the read timeout
_METADATA_TIMEOUT_S = 1.0

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CREDENTIALS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
CREDENTIALS_REMEDY = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary keys)"


def endpoint() -> str:
    """Return the address of the store for error messages, without a user name and password that it may hold."""
    url = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    if not url:
        return "Amazon S3"
    return url.replace(urlsplit(url).netloc, urlsplit(url).netloc.rpartition("@")[2])


def open_store(bucket: str) -> S3Store:
    """Open a bucket with the endpoint, region and credentials of the ``AWS_…`` environment variables."""
    options: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "timeout": _REQUEST_TIMEOUT,
    }
    if endpoint().startswith("http://"):
        options["allow_http"] = True
    return S3Store(bucket, client_options=options, retry_config=_RETRIES)


async def require_credentials(source: str) -> None:
    """Return when requests can be signed, or need not be.

    Without any in the environment only a cloud machine's metadata service can have credentials; where it does not
    answer at once there is none, and waiting for it as long as for a store would only hide that.

    Raises:
        AccessDeniedError: There are no credentials.
    """
    env = os.environ
    keys = [bool(env.get(name)) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    if all(keys):
        return
    if any(keys):
        raise AccessDeniedError(source, f"the environment has only half of the credentials; {CREDENTIALS_REMEDY}")
    if _is_true(env.get("AWS_SKIP_SIGNATURE")) or any(env.get(name) for name in _CREDENTIALS):
        return
    if not _is_true(env.get("AWS_EC2_METADATA_DISABLED")) and await _metadata_service_answers():
        return
    raise AccessDeniedError(
        source,
        f"there are no credentials in the environment; {CREDENTIALS_REMEDY},"
        " or AWS_SKIP_SIGNATURE=true for a public bucket",
    )


async def _metadata_service_answers() -> bool:
    service = urlsplit(os.environ.get("AWS_METADATA_ENDPOINT") or "http://169.254.169.254")
    try:
        with anyio.fail_after(_METADATA_TIMEOUT_S):
            stream = await anyio.connect_tcp(service.hostname or "", service.port or 80)
    except (OSError, TimeoutError):
        return False
    await stream.aclose()
    return True


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in {"1", "true", "yes", "on"}
