"""Files in the Hub's Xet storage, read from any place on, so that what is there already is not fetched again."""

import importlib
from collections.abc import Iterator
from typing import Any

from eventinit.downloads.hub_cache import HubFile


class XetFailedError(Exception):
    """Raised when the Xet storage does not give a file; the Hub gives every file over plain HTTP as well."""


def is_in_xet(file: HubFile) -> bool:
    """Return whether a file can be read from the Xet storage here."""
    return file.xet_hash is not None and bool(_transfers().is_xet_available())


def xet_pieces(repository: str, commit: str, endpoint: str | None, file: HubFile, start: int) -> Iterator[bytes]:
    """Yield the bytes of a file from a place on.

    Raises:
        XetFailedError: The storage refuses, does not answer, or hf_xet has changed.
    """
    at = start
    try:
        for piece in _stream(repository, commit, endpoint, file, start):
            at += len(piece)
            yield piece
    except Exception as error:
        raise XetFailedError(f"{type(error).__name__}: {error}") from error
    if at < file.size:  # hf_xet takes a storage without the file for an empty one
        raise XetFailedError(f"the file ended at byte {at} of {file.size}")


def _stream(repository: str, commit: str, endpoint: str | None, file: HubFile, start: int) -> Iterator[bytes]:
    hub, xet = _transfers(), _sessions()
    route = hub.xet_connection_info_refresh_url(
        token_type=hub.XetTokenType.READ,
        repo_id=repository,
        repo_type="model",
        revision=commit,
        endpoint=endpoint,
    )
    headers = hub.build_hf_headers()
    data = hub.XetFileData(file_hash=file.xet_hash, refresh_route=route)
    connection = xet.refresh_xet_connection_info(file_data=data, headers=headers)
    session: Any = xet.get_xet_session()
    group = session.new_download_stream_group(
        endpoint=connection.endpoint,
        token=connection.access_token,
        token_expiry_unix_secs=connection.expiration_unix_epoch,
        token_refresh_url=route,
        token_refresh_headers=headers,
        custom_headers=xet.xet_headers_without_auth(headers),
    )
    information = importlib.import_module("hf_xet").XetFileInfo(file.xet_hash, file.size)
    yield from group.download_stream(information, start=start, end=file.size)


def _transfers() -> Any:
    from huggingface_hub import file_download

    return file_download


def _sessions() -> Any:
    return importlib.import_module("huggingface_hub.utils._xet")
