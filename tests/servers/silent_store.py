"""A store that never answers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, final

import psutil


@final
class SilentStore:
    """A store that takes requests and never answers, and knows which process asked."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._ports: list[int] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[dict[str, Any]]:
        """Serve; gives the runtime environment that leads there."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        try:
            yield {"env_vars": variables}
        finally:
            server.close()

    async def client(self) -> psutil.Process:
        """Return the process that asked, once one has."""
        await asyncio.wait_for(self._asked.wait(), 60)
        return await asyncio.to_thread(self._process)

    async def is_alone(self) -> bool:
        """Return whether nobody is connected any more."""
        return not await asyncio.to_thread(self._connections)

    def _process(self) -> psutil.Process:
        [pid] = {connection.pid for connection in self._connections() if connection.pid}
        return psutil.Process(pid)

    def _connections(self) -> list[Any]:
        connections = psutil.net_connections("tcp")
        open_ones = [each for each in connections if each.status == psutil.CONN_ESTABLISHED]
        return [each for each in open_ones if each.laddr and each.laddr.port in self._ports]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ports.append(writer.get_extra_info("peername")[1])
        self._asked.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()
