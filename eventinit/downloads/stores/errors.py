"""What the refusal of a store means for the user, told without anything secret."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from eventinit.downloads.remote import RemoteFile
from eventinit.errors import (
    AccessDeniedError,
    DownloadError,
    ModelNotFoundError,
    ObjectChangedError,
    StoreSilentError,
    StoreUnavailableError,
    UnsafeKeyError,
)
from eventinit.redaction import HIDDEN, is_secret

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_BAD_KEY = re.compile(r'(?:Error parsing|invalid path:) Path "(?P<key>[^"\n]*)"')
_METADATA_SERVICE = ("/latest/api/token", "/latest/meta-data", "/computeMetadata/", "/metadata/identity")
_TOKEN = ("TokenRequest", "TokenResponseBody", "token request")
_WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException")
_NO_RANGES = ("source: NotPartial", "Range request not supported")
_STATUS_OF = {
    PreconditionError: "412",
    PermissionDeniedError: "403",
    UnauthenticatedError: "401",
    FileNotFoundError: "404",
}
_REFUSED = {"401", "403", "407"}
_CHANGED = {"412", "416"}
_BUSY = {"408", "425", "429"}
_NEVER = ("501", "505")
_NOT_TRUSTED = ("CERTIFICATE_VERIFY_FAILED", "InvalidCertificate", "invalid peer certificate")
_NO_SUCH_HOST = ("dns error", "Name or service not known", "No address associated", "in name resolution")

_QUERY = re.compile(r"(https?://[^\s?\"'<>]*\?)[^\s\"'<>,)\]}]+")
_USER_INFO = re.compile(r"(?<=://)[^/@\s\"]+@")
# What a store repeats of a request that it could not verify holds the key's name and the signature.
_ECHO = re.compile(
    r"<(\w*(?:Signature|StringToSign|CanonicalRequest|AccessKeyId|AuthenticationErrorDetail)\w*)>.*?</\1>", re.DOTALL
)
_SHORTEST_SECRET = 6
_PATHS = ("_FILE", "_PATH", "GOOGLE_APPLICATION_CREDENTIALS")


@dataclass(frozen=True, slots=True)
class Place:
    """What messages say about a store.

    Attributes:
        source: The URI without anything secret.
        endpoint: Who answers, such as an address or ``Amazon S3``.
        holder: What the objects are in, such as ``bucket 'models'``.
        access: The remedy for a refusal.
        setting: Where the address is set, such as ``AWS_ENDPOINT_URL``.
        region: The setting for the store's region, if it has such.
        stall_timeout_s: How long it may be silent.
    """

    source: str
    endpoint: str
    holder: str
    access: str
    setting: str
    region: str | None
    stall_timeout_s: float


@contextmanager
def store_errors(place: Place, file: RemoteFile | None = None) -> Generator[None]:
    """Raise what the store refuses in the block as a typed error; without a file the listing was asked for."""
    try:
        yield
    except DownloadError:
        raise
    except (BaseError, OSError, ValueError) as error:
        meaning = _meaning(error, place, file)
        # Tracebacks print the cause, and its text has the whole address with the signature.
        error.args = (redacted(str(error)),)
        raise meaning from error


def redacted(text: str) -> str:
    """Return a text without user info, query strings, signatures and the values of secret environment variables."""
    text = _ECHO.sub(rf"<\1>{HIDDEN}</\1>", _USER_INFO.sub(f"{HIDDEN}@", _QUERY.sub(rf"\1{HIDDEN}", text)))
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and is_secret(name) and not name.endswith(_PATHS):
            text = text.replace(value, HIDDEN)
    return text


def _meaning(error: Exception, place: Place, file: RemoteFile | None) -> DownloadError:
    """Choose the error by status, code and kind; the store's own text is left to the chained cause."""
    text = str(error)
    known = (status for kind, status in _STATUS_OF.items() if isinstance(error, kind))
    status, code = _first(_STATUS, text) or next(known, ""), _first(_CODE, text)
    if meaning := _credentials_or_key(place, f"{status} {code}".strip(), text):
        return meaning
    if place.region and "redirect without LOCATION" in text:
        return _wrong_region(place, place.region)
    return _answered(place, file, status, code) if status or code else _trouble(place, _what(place, file), text)


def answered(place: Place, file: RemoteFile, status: int, body: str, retry_after_s: float = 0.0) -> DownloadError:
    """Return the error for a web server's answer that is not what was asked for."""
    return _answered(place, file, str(status), _first(_CODE, body), retry_after_s)


def _answered(
    place: Place, file: RemoteFile | None, status: str, code: str, retry_after_s: float = 0.0
) -> DownloadError:
    what, answer = _what(place, file), f"{status} {code}".strip()
    if place.region and (status == "301" or code in _WRONG_REGION):
        return _wrong_region(place, place.region)
    if file and status in _CHANGED:
        return ObjectChangedError(place.source, file.name)
    if status in _REFUSED or code == "PublicAccessNotPermitted":
        return refusal(place, what, answer)
    if status == "404":
        return missing(place, what)
    return unexpected(place, what, answer, retry_after_s)


def _what(place: Place, file: RemoteFile | None) -> str:
    return f"the object {file.key!r}" if file else place.holder


def _credentials_or_key(place: Place, answer: str, text: str) -> DownloadError | None:
    """Return the error if it is about what comes before the request itself."""
    if bad_key := _BAD_KEY.search(text):
        return UnsafeKeyError(place.source, f"the key {bad_key['key']!r} cannot be a file's path; rename the object")
    is_metadata = any(part in text for part in _METADATA_SERVICE)
    if not is_metadata and not any(part in text for part in _TOKEN):
        return None
    problem = "no access token is given for the credentials"
    if is_metadata:
        problem = "the machine's metadata service gives no credentials"
    kind = StoreUnavailableError if not answer or _is_transient(answer) else AccessDeniedError
    return kind(place.source, f"{problem} ({answer or 'it does not answer'}); {place.access}")


def _wrong_region(place: Place, setting: str) -> DownloadError:
    return DownloadError(place.source, f"the bucket is in another region; set {setting} to that of the bucket")


def _trouble(place: Place, what: str, text: str) -> DownloadError:
    """Return the error for a connection that ended, for silence, and for what nobody has foreseen."""
    kind = _first(_KIND, text)
    is_connected = kind != "Connect" and "kind: Connect" not in text
    if kind == "Timeout" and is_connected:
        return silence(place, what)
    if kind:
        return cut(place, what) if is_connected else unreachable(place, text)
    if any(part in text for part in _NO_RANGES):
        return without_ranges(place, what)
    said = redacted(text.partition("\n")[0])
    return DownloadError(place.source, f"{what} cannot be read: {said}; check model_source and the store's settings")


def without_ranges(place: Place, what: str) -> DownloadError:
    """Return the error for a store that sends a whole object when it is asked for a part."""
    return DownloadError(place.source, f"{place.endpoint} cannot read {what} from its middle; use another store")


def unexpected(place: Place, what: str, answer: str, retry_after_s: float = 0.0) -> DownloadError:
    """Return the error for a status that is neither success, refusal nor absence; later it may be another."""
    problem = (
        f"{place.endpoint} answered {answer} when asked for {what}; check {place.setting} and that the store is up"
    )
    if _is_transient(answer):
        return StoreUnavailableError(place.source, problem, retry_after_s)
    return DownloadError(place.source, problem)


def unreachable(place: Place, reason: str) -> DownloadError:
    """Return the error for an address to which there is no connection, for a reason as the client tells it."""
    if any(part in reason for part in _NOT_TRUSTED):
        problem = f"the certificate of {place.endpoint} is not trusted; set SSL_CERT_FILE to that of its authority"
        return DownloadError(place.source, problem)
    if any(part in reason for part in _NO_SUCH_HOST):
        problem = f"there is no host of the name in {place.endpoint}; check {place.setting}"
        return StoreUnavailableError(place.source, problem)
    problem = f"{place.endpoint} does not answer; check {place.setting} and that the store is up"
    return StoreUnavailableError(place.source, problem)


def refusal(place: Place, what: str, answer: str) -> AccessDeniedError:
    """Return the error for a store that knows who asks, or wants to know, and refuses."""
    return AccessDeniedError(place.source, f"{place.endpoint} refused {what} ({answer}); {place.access}")


def missing(place: Place, what: str) -> ModelNotFoundError:
    """Return the error for what is not there."""
    problem = f"{place.endpoint} has no {what.removeprefix('the ')}; check model_source and {place.setting}"
    return ModelNotFoundError(place.source, problem)


def silence(place: Place, what: str) -> StoreSilentError:
    """Return the error for a store that sent nothing for the stall timeout."""
    waited_s = place.stall_timeout_s
    problem = f"{place.endpoint} sent nothing of {what} for {waited_s:g} s; check the network and that the store is up"
    return StoreSilentError(place.source, problem, waited_s)


def cut(place: Place, what: str) -> StoreUnavailableError:
    """Return the error for a connection that ended before the bytes did."""
    problem = f"the connection to {place.endpoint} was cut during {what}; check the network and fetch again"
    return StoreUnavailableError(place.source, problem)


def _is_transient(answer: str) -> bool:
    return (answer[0] == "5" and not answer.startswith(_NEVER)) or answer[:3] in _BUSY


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
