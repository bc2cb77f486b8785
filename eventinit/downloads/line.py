"""What one worker thread after another reads from stores through."""

from http.client import HTTPConnection
from typing import final

from eventinit.downloads.bandwidth import Bandwidth
from eventinit.downloads.interruption import Interruption


@final
class Line:
    """A buffer and open connections that are used again, for one request at a time.

    Attributes:
        buffer: Where bytes lie on their way from a socket to a file.
        bandwidth: What bytes are drawn from, together with all other lines.
        connections: Those that wait for their next request, by scheme and host.
        hurry: Set when nobody needs any more what is being read; each piece of work gets a new one.
    """

    def __init__(self, buffer_bytes: int, bandwidth: Bandwidth) -> None:
        self.buffer = memoryview(bytearray(buffer_bytes))
        self.bandwidth = bandwidth
        self.connections: dict[str, HTTPConnection] = {}
        self.hurry = Interruption()

    def close(self) -> None:
        """Close the connections."""
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()
