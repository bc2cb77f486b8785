"""What a refusal of the Hugging Face Hub means for the user, and how it comes from another process."""

import inspect
import os
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from eventinit import errors
from eventinit.downloads.disk_errors import disk_problem
from eventinit.errors import AccessDeniedError, DownloadError, ModelNotFoundError, StoreUnavailableError
from eventinit.redaction import HIDDEN, redact

_QUERY = re.compile(r"\?[^\s'\"<>)]+")
OFFLINE = "the model is not complete in the cache and HF_HUB_OFFLINE is set; unset it to fetch the model"
_LOG_IN = "set HF_TOKEN to a token that may read it (or run: hf auth login)"


class HubReplyError(Exception):
    """What huggingface_hub said, without the query of any URL and without the token; the cause of a typed error."""


def hub_error(error: Exception, source: str, endpoint: str | None = None) -> DownloadError:
    """Return the typed error for what huggingface_hub raised; import-heavy, so call it in a thread."""
    if isinstance(error, DownloadError):
        return error
    typed = _typed(error, source, redact("", endpoint or os.environ.get("HF_ENDPOINT") or "the Hugging Face Hub"))
    typed.__cause__ = HubReplyError(_clean(f"{type(error).__name__}: {error}"))
    return typed


def to_json(error: DownloadError) -> dict[str, Any]:
    """Return what ``from_json`` rebuilds the error from."""
    names = inspect.signature(type(error)).parameters
    cause = str(error.__cause__) if error.__cause__ else None
    return {"type": type(error).__name__, "values": {name: getattr(error, name) for name in names}, "cause": cause}


def from_json(value: dict[str, Any]) -> DownloadError:
    """Return the error that another process has raised."""
    error: DownloadError = getattr(errors, value["type"])(**value["values"])
    error.__cause__ = HubReplyError(value["cause"]) if value["cause"] else None
    return error


def _typed(error: Exception, source: str, hub: str) -> DownloadError:  # noqa: PLR0911
    from huggingface_hub import errors as refusals

    causes = list(_chain(error))
    status = next((cause.response.status_code for cause in causes if isinstance(cause, refusals.HfHubHTTPError)), None)

    def is_any(kind: type[Exception]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    if is_any(refusals.GatedRepoError):
        return AccessDeniedError(source, f"the model is gated; ask for access on its page, then {_LOG_IN}")
    if is_any(refusals.RevisionNotFoundError):
        return ModelNotFoundError(source, f"{hub} has no such revision; check what follows the @ in model_source")
    if is_any(refusals.RepositoryNotFoundError):
        where = f"check the id (a folder is written ./{source}), or if it is private {_LOG_IN}"
        return ModelNotFoundError(source, f"{hub} shows no such model; {where}")
    if is_any(refusals.EntryNotFoundError) or status == HTTPStatus.NOT_FOUND:
        return ModelNotFoundError(
            source, f"{hub} lists a file that it does not have; check HF_ENDPOINT, or fetch again"
        )
    if status in {401, 403}:
        return AccessDeniedError(source, f"{hub} refused the model ({status}); {_LOG_IN}")
    if disk := _disk_error(causes):
        return DownloadError(source, disk_problem(disk, _hub_cache(), "HF_HOME"))
    return StoreUnavailableError(source, _silence(status, hub, is_offline=is_any(refusals.OfflineModeIsEnabled)))


def _clean(text: str) -> str:
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    shown = _QUERY.sub(f"?{HIDDEN}", redact("", text))
    return shown.replace(token, HIDDEN) if token else shown


def _silence(status: int | None, hub: str, *, is_offline: bool) -> str:
    if is_offline:
        return OFFLINE
    answer = f"answered {status}" if status else "cannot be reached"
    return f"{hub} {answer}; check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use only the cache"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _disk_error(causes: list[BaseException]) -> OSError | None:
    """Return what the disk refused, if it did: only such an error names a file."""
    return next(
        (cause for cause in causes if isinstance(cause, OSError) and cause.errno and _is_about_files(cause)), None
    )


def _is_about_files(error: OSError) -> bool:
    # A name that cannot be resolved is an OSError as well, with an errno of its own kind.
    return error.filename is not None or not isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
