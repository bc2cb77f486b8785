"""What one worker thread after another reads from stores through."""

from functools import cached_property
from http.client import HTTPConnection
from typing import final

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.interruption import Interruption


@final
class Line:
    """A buffer and open connections that are used again, for one request at a time.

    Attributes:
        bandwidth: What bytes are drawn from, together with all other lines.
        connections: Those that wait for their next request, by scheme and host.
        hurry: Set when nobody needs any more what is being read; each piece of work gets a new one.
    """

    def __init__(self, buffer_bytes: int, bandwidth: Bandwidth) -> None:
        self._buffer_bytes = buffer_bytes
        self.bandwidth = bandwidth
        self.connections: dict[str, HTTPConnection] = {}
        self.hurry = Interruption()

    @cached_property
    def buffer(self) -> memoryview:
        """Where bytes lie on their way from a socket to a file; the thread that reads first pays for the memory."""
        return memoryview(bytearray(self._buffer_bytes))

    def close(self) -> None:
        """Close the connections."""
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
