"""Ask a web server for headers and small texts, on the event loop, without leaving a signed address in any log."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, final

import anyio
from anyio import to_thread

from eventinit.downloads.stores.certificates import certificates

if TYPE_CHECKING:
    import httpx2

REQUESTS = 8
ATTEMPTS = 3
_BACKOFF_S = 0.5
_LONGEST_WAIT_S = 10.0
_CONNECT_TIMEOUT_S = 4.0
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}

_asking: ContextVar[bool] = ContextVar("_asking", default=False)


def _is_not_ours(_: logging.LogRecord) -> bool:
    # The client logs each address with its query; those that others ask for are not our business.
    return not _asking.get()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; ``body`` only where it was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def has_content(self) -> bool:
        """Whether the file is there."""
        return self.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}

    @property
    def size(self) -> int | None:
        """The size of the whole file, if the server told it."""
        total = self.headers.get("content-range", "").rpartition("/")[2]
        text = total if self.status == HTTPStatus.PARTIAL_CONTENT else self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


@final
class Probe:
    """A client for a few small requests, a bounded number at a time; use it as an async context manager.

    Overload and failures of the server are tried again a few times; then the last answer counts, or what httpx2
    raised.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._slots = anyio.Semaphore(REQUESTS)

    async def __aenter__(self) -> Self:
        # Importing the client and loading certificates take long enough to be felt on the event loop.
        self._client = await to_thread.run_sync(_open_client, self._timeout_s)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.move_on_after(1, shield=True):
            await self._client.aclose()

    async def head(self, address: str) -> Answer:
        """Return the answer to a HEAD request, or to one for the first byte where the server knows no HEAD."""
        answer = await self._ask("HEAD", address)
        if answer.status in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
            return await self.first_byte(address)
        return answer

    async def first_byte(self, address: str) -> Answer:
        """Return the answer to a request for the first byte; its body is not read."""
        return await self._ask("GET", address, {"Range": "bytes=0-0"})

    async def content(self, address: str, at_most: int) -> Answer:
        """Return the answer with its body, cut after ``at_most`` bytes."""
        return await self._ask("GET", address, at_most=at_most)

    async def _ask(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, at_most: int = 0
    ) -> Answer:
        import httpx2

        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = await self._once(method, address, headers, at_most)
            except httpx2.TransportError:
                if attempt == ATTEMPTS:
                    raise
                await anyio.sleep(_BACKOFF_S * attempt)
                continue
            if answer.status not in _TRANSIENT or attempt == ATTEMPTS:
                return answer
            await anyio.sleep(_wait_s(answer.headers.get("retry-after", ""), attempt))
        raise AssertionError  # the last attempt returns or raises

    async def _once(self, method: str, address: str, headers: Mapping[str, str] | None, at_most: int) -> Answer:
        token = _asking.set(True)
        try:
            async with self._slots, self._client.stream(method, address, headers=headers) as response:
                body = bytearray()
                if at_most:
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) >= at_most:
                            break
                return Answer(response.status_code, response.headers, bytes(body[:at_most]))
        finally:
            _asking.reset(token)


def _wait_s(retry_after: str, attempt: int) -> float:
    wait_s = float(retry_after) if retry_after.isdecimal() else _BACKOFF_S * attempt
    return min(wait_s, _LONGEST_WAIT_S)


def _open_client(timeout_s: float) -> "httpx2.AsyncClient":
    import httpx2

    logging.getLogger("httpx2").addFilter(_is_not_ours)
    limits: Any = httpx2.Limits(max_connections=REQUESTS)
    return httpx2.AsyncClient(
        verify=certificates(),
        # Sizes and checksums are wanted of the file as it is, not of a compressed form.
        headers={"Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
        limits=limits,
        follow_redirects=True,
    )
