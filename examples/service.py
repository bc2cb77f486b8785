"""An asyncio service that starts a node in the background and answers other requests meanwhile.

    python examples/service.py                                   # on fakes: asks itself a few requests and ends
    python examples/service.py --port 8000                       # on fakes, until Ctrl-C; try it with curl
    python examples/service.py --real CONFIG.yaml --port 8000    # the same with Ray and vLLM

``/health`` answers at once, ``/ready`` says what the start is doing, ``/generate?prompt=...`` works once it is ready.
"""

import argparse
import asyncio
import sys
import time
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from eventinit import EventBus, EventInitError, LLMConfig, Node, initialize_node, observes, preload
from eventinit.events import DownloadProgress, EngineDied, LifecycleEvent, PhaseFailed, PostEvent, StartEvent
from eventinit.ports import Backends
from eventinit.testing import FakeCluster, FakeEngineBackend, Fakes, FakeSource

HOST = "127.0.0.1"


class Service:
    """The answers. The node is one thing it has, and may be starting, running or gone."""

    def __init__(self, sampling: Any) -> None:
        self.sampling = sampling
        self.running: dict[str, str] = {}
        self.node: Node | None = None
        self.failure: str | None = None
        self.closing = asyncio.Event()

    # One method for all events, since events reach one observer in their order.
    @observes(StartEvent)
    async def note(self, event: StartEvent) -> None:
        match event:
            case PhaseFailed(failed_phase=phase) | PostEvent(phase=str(phase)):
                self.running.pop(phase, None)
            case DownloadProgress():
                self.running["download"] = f"download {event.bytes_done / max(event.bytes_total, 1):.0%}"
            case EngineDied():
                self.failure = f"the engine has ended: {event.reason}"
            case LifecycleEvent(phase=str(phase)) if phase != "initialization":  # the frame of the other phases
                self.running[phase] = phase
            case _:
                pass

    async def keep_node(self, config: LLMConfig, backends: Backends | None) -> None:
        """Start the node and stop it when the service closes. The service outlives a start that fails."""
        bus = EventBus()
        bus.attach(self)
        try:
            async with initialize_node(config, bus=bus, backends=backends) as node:
                self.node = node
                await self.closing.wait()
                self.node = None
        except EventInitError as error:
            self.failure = f"the start failed: {error}"

    async def answer(self, target: str) -> tuple[int, str]:
        url = urlsplit(target)
        if url.path == "/health":
            return 200, "alive"
        if self.failure is not None:
            return 500, self.failure
        if self.node is None:
            return 503, f"starting: {', '.join(self.running.values()) or 'just begun'}"
        if url.path == "/ready":
            return 200, "ready"
        text = ""
        prompt = parse_qs(url.query).get("prompt", ["Hello"])[0]
        async for output in self.node.engine.generate(prompt, self.sampling, uuid.uuid4().hex):
            text = output.outputs[0].text
        return 200, text

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, with as much HTTP as curl needs."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            status, text = await self.answer(head.split(b" ")[1].decode())
            writer.write(f"HTTP/1.0 {status} -\r\n\r\n{text}\n".encode())
            await writer.drain()
        writer.close()


async def get(port: int, target: str) -> str:
    """Ask the service as a client would; return status and text."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return f"{head.split()[1]} {body.strip()}"


async def play(port: int) -> None:
    """Ask until the node is ready or has failed, then for a text."""
    slowest_s, ready, before = 0.0, "", ""
    while not ready.startswith(("200", "500")):
        asked = time.monotonic()
        alive = await get(port, "/health")
        slowest_s = max(slowest_s, time.monotonic() - asked)
        ready, before = await get(port, "/ready"), ready
        if ready != before:
            print(f"/health {alive}   /ready {ready}")
        await asyncio.sleep(0.02)
    print(f"the slowest /health answer took {slowest_s * 1000:.0f} ms")
    print("/generate", await get(port, "/generate?prompt=The+capital+of+France+is"))


async def serve(config: LLMConfig, backends: Backends | None, sampling: Any, port: int | None) -> str | None:
    """Run the service; return why it failed, if it did."""
    service = Service(sampling)
    async with await asyncio.start_server(service.handle, HOST, port or 0) as server, asyncio.TaskGroup() as tasks:
        tasks.create_task(service.keep_node(config, backends))
        actual_port = server.sockets[0].getsockname()[1]
        print(f"http://{HOST}:{actual_port} serves while {config.model_id} starts", flush=True)
        if port is None:
            await play(actual_port)
            service.closing.set()
    return service.failure


def real_parts(path: str) -> tuple[LLMConfig, Backends | None, Any]:
    config = LLMConfig.from_yaml(path)
    # Loading vLLM holds up every thread of this process for half a second at a time: before the loop nobody notices.
    preload()
    from vllm import SamplingParams

    return config, None, SamplingParams(temperature=0, max_tokens=32)


def fake_parts() -> tuple[LLMConfig, Backends | None, Any]:
    fakes = Fakes(FakeSource(seconds=1.0), FakeCluster(ready_after_s=0.4), FakeEngineBackend(seconds=0.4))
    return LLMConfig(model_id="demo"), fakes.backends(), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", metavar="CONFIG", help="start what this YAML file says, with Ray and vLLM")
    parser.add_argument("--port", type=int, help="serve there until Ctrl-C")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        try:
            config, backends, sampling = real_parts(arguments.real) if arguments.real else fake_parts()
            sys.exit(asyncio.run(serve(config, backends, sampling, arguments.port)))
        except EventInitError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
