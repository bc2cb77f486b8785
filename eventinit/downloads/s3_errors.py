"""What a store's refusal means for the user."""

import re
from collections.abc import Generator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from eventinit.downloads.s3_store import CREDENTIALS_REMEDY, endpoint
from eventinit.errors import (
    AccessDeniedError,
    DownloadError,
    ModelNotFoundError,
    StoreUnavailableError,
    UnsafeKeyError,
)

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_BAD_KEY = re.compile(r'(?:Error parsing|invalid path:) Path "(?P<key>[^"\n]*)"')
_NO_METADATA = f"the machine's metadata service gives no credentials; {CREDENTIALS_REMEDY}"
_WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")


@contextmanager
def store_errors(source: str, what: str) -> Generator[None]:
    """Raise what the store refuses in the block as a typed error; ``what`` was asked for."""
    try:
        yield
    except DownloadError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise _meaning(error, source, what) from error


def _meaning(error: Exception, source: str, what: str) -> DownloadError:
    """Choose the error by type, status and S3 code; the store's own text is left to the chained cause."""
    text = str(error)
    status, code = _first(_STATUS, text), _first(_CODE, text)
    answer = " ".join(filter(None, (status, code))) or type(error).__name__
    is_metadata = "/latest/api/token" in text or "/latest/meta-data" in text
    if bad_key := _BAD_KEY.search(text):
        return UnsafeKeyError(source, f"the key {bad_key['key']!r} cannot be a file's path; rename the object")
    if is_metadata or _is_refusal(error, status):
        return AccessDeniedError(source, _NO_METADATA if is_metadata else _refusal(what, answer))
    if isinstance(error, PreconditionError):
        return DownloadError(source, f"{what} was replaced while it was being fetched; fetch again")
    if status == "301" or code in _WRONG_REGION or "redirect without LOCATION" in text:
        return DownloadError(source, "the bucket is in another region; set AWS_REGION to that of the bucket")
    if isinstance(error, FileNotFoundError) or status == "404":
        return ModelNotFoundError(source, f"{endpoint()} has no {what}; check model_source and AWS_ENDPOINT_URL")
    problem = f"answered {answer}" if status else "does not answer"
    return StoreUnavailableError(
        source, f"{endpoint()} {problem} when asked for {what}; check AWS_ENDPOINT_URL and that the store is up"
    )


def _refusal(what: str, answer: str) -> str:
    return f"{endpoint()} refused {what} ({answer}); {CREDENTIALS_REMEDY} of an identity that may read it"


def _is_refusal(error: Exception, status: str) -> bool:
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in {"401", "403"}


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
