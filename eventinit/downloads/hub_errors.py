"""What a refusal of the Hugging Face Hub means for the user."""

import os
from collections.abc import Iterator
from pathlib import Path

from eventinit.downloads.disk_errors import disk_problem
from eventinit.errors import AccessDeniedError, DownloadError, ModelNotFoundError, StoreUnavailableError

_LOG_IN = "set HF_TOKEN to a token that may read it (or run: hf auth login)"


def hub_error(error: Exception, source: str) -> DownloadError:
    """Return the typed error for what huggingface_hub raised; import-heavy, so call it in a thread."""
    from huggingface_hub import errors

    causes = list(_chain(error))
    status = next((cause.response.status_code for cause in causes if isinstance(cause, errors.HfHubHTTPError)), None)

    def is_any(kind: type[Exception]) -> bool:
        return any(isinstance(cause, kind) for cause in causes)

    if is_any(errors.GatedRepoError):
        return AccessDeniedError(source, f"the model is gated; ask for access on its page, then {_LOG_IN}")
    if is_any(errors.RevisionNotFoundError):
        return ModelNotFoundError(source, f"{_hub()} has no such revision; check what follows the @ in model_source")
    if is_any(errors.RepositoryNotFoundError):
        return ModelNotFoundError(source, f"{_hub()} shows no such model; check the id, or if it is private {_LOG_IN}")
    if status in {401, 403}:
        return AccessDeniedError(source, f"{_hub()} refused the model ({status}); {_LOG_IN}")
    if disk := _disk_error(causes):
        return DownloadError(source, disk_problem(disk, _hub_cache(), "HF_HOME"))
    return StoreUnavailableError(source, _silence(status, is_offline=is_any(errors.OfflineModeIsEnabled)))


def _silence(status: int | None, *, is_offline: bool) -> str:
    if is_offline:
        return "the model is not complete in the cache and HF_HUB_OFFLINE is set; unset it to fetch the model"
    answer = f"answered {status}" if status else "cannot be reached"
    return f"{_hub()} {answer}; check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use only the cache"


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
    return error.filename is not None or not isinstance(error, ConnectionError | TimeoutError)


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT") or "the Hugging Face Hub"


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
