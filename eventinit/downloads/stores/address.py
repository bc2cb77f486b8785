"""What a URI of a container names, checked before anything is asked."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from eventinit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Location:
    """A prefix in a bucket or container; ``source`` is the URI in one spelling."""

    source: str
    container: str
    prefix: str

    @classmethod
    def of(cls, uri: str, form: str) -> Self:
        """Return what the URI names; ``form`` says how it is written.

        Raises:
            ConfigError: It names no container, or has a user, query or fragment.
        """
        parts = urlsplit(uri)
        if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise ConfigError("model_source", [f"a URI of this kind is {form}, with no user, query or fragment"])
        prefix = parts.path.strip("/")
        return cls(f"{parts.scheme}://{parts.netloc}/{prefix}".rstrip("/"), parts.netloc, prefix)


def without_user(address: str) -> str:
    """Return an address without the user name and password that it may hold."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
