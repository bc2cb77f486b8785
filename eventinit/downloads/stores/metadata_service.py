"""Whether this machine has the metadata service of a cloud, which gives credentials to those that run in it."""

import os
from urllib.parse import urlsplit

import anyio

_TIMEOUT_S = 1.0
_EVERYWHERE = "http://169.254.169.254"


async def metadata_service_answers(setting: str) -> bool:
    """Return whether the service answers at the usual address, or at the one that an environment variable names.

    Where it does not answer at once there is none, and waiting for it as long as for a store would only hide that.
    """
    chosen = os.environ.get(setting) or _EVERYWHERE
    service = urlsplit(chosen if "://" in chosen else f"http://{chosen}")
    try:
        with anyio.fail_after(_TIMEOUT_S):
            stream = await anyio.connect_tcp(service.hostname or "", service.port or 80)
    except (OSError, TimeoutError):
        return False
    await stream.aclose()
    return True


def is_true(value: str | None) -> bool:
    """Return whether an environment variable says yes."""
    return (value or "").lower() in {"1", "true", "yes", "on"}
