"""Whom encrypted connections trust."""

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


def certificates() -> "ssl.SSLContext":
    """Return the certificates of the machine, or those that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names."""
    return _loaded(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _loaded(file: str | None, folder: str | None) -> "ssl.SSLContext":  # noqa: ARG001 - httpx2 reads both
    """Load the certificates once for each place that the environment names: it costs more than a request."""
    import httpx2

    return httpx2.create_ssl_context()
