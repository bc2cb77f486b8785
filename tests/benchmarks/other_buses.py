"""The other libraries, each called in the way its documentation shows, where they are installed."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, ClassVar

from tests.benchmarks.contender import Contender, Handler, Lane


def _load(package: str) -> Any:
    module: ModuleType = importlib.import_module(package)
    return module


def version_of(package: str) -> str | None:
    """Return the version of a package, or None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class BlinkerAsync(Contender):
    """blinker's own way to mixed handlers; the event goes as the sender, which spares it keyword arguments."""

    name = "blinker send_async"
    package = "blinker"

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self._signal = _load("blinker").Signal()

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._signal.connect(handler, weak=False)

    async def emit_all(self, events: Sequence[Any]) -> None:
        send, wrapper = self._signal.send_async, _awaitable
        for event in events:
            await send(event, _sync_wrapper=wrapper)


def _awaitable(handler: Handler) -> Handler:
    async def call(event: Any) -> Any:
        return handler(event)

    return call


class BlinkerSend(BlinkerAsync):
    """blinker with plain functions only."""

    name = "blinker send"
    lanes = ("sync",)

    async def emit_all(self, events: Sequence[Any]) -> None:
        send = self._signal.send
        for event in events:
            send(event)


class Pyee(Contender):
    """pyee runs async handlers as tasks and tells failures to the listeners of "error"; without one, emit raises."""

    name = "pyee"
    package = "pyee"
    note = (
        'isolates because of a listener for "error", without which the first failing plain function ends the emit; '
        "async handlers are tasks, which run at the same time"
    )

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self._emitter = _load("pyee.asyncio").AsyncIOEventEmitter()
        self._emitter.on("error", _forget)

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._emitter.on("ping", handler)

    async def emit_all(self, events: Sequence[Any]) -> None:
        emit, wait = self._emitter.emit, self._emitter.wait_for_complete
        if self.lane == "sync":
            for event in events:
                emit("ping", event)
            return
        for event in events:
            emit("ping", event)
            await wait()


def _forget(error: Exception) -> None:
    pass


class Psygnal(Contender):
    """psygnal, compiled; async handlers go through a queue that one task empties."""

    name = "psygnal"
    package = "psygnal"
    priorities = True
    note = "compiled; async handlers run later, in one task for all signals, and emit cannot wait for them"

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        psygnal = _load("psygnal")
        if lane == "async":
            psygnal.set_async_backend("asyncio")
        self._signal = psygnal.SignalInstance((object,))

    async def open(self) -> None:
        await asyncio.sleep(0)  # lets the task that calls async handlers begin

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._signal.connect(handler, priority=priority)

    async def emit_all(self, events: Sequence[Any]) -> None:
        emit, turn = self._signal.emit, asyncio.sleep
        if self.lane == "sync":
            for event in events:
                emit(event)
            return
        for event in events:
            emit(event)
            await turn(0)  # one turn of the loop is all its task needs for handlers that never wait

    async def aclose(self) -> None:
        self._signal.disconnect()


class Pluggy(Contender):
    """pluggy with one hook; what async implementations return is awaited one after another."""

    name = "pluggy"
    package = "pluggy"
    priorities = True
    note = "priorities are tryfirst and trylast only; knows no async, so the caller awaits what the hook returns"

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        pluggy = _load("pluggy")
        self._implementation = pluggy.HookimplMarker("benchmark")
        self._manager = pluggy.PluginManager("benchmark")
        self._manager.add_hookspecs(_Plugin(pluggy.HookspecMarker("benchmark")(_hook)))

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._manager.register(_Plugin(self._implementation(handler, tryfirst=priority > 0)))

    async def emit_all(self, events: Sequence[Any]) -> None:
        hook = self._manager.hook.ping
        if self.lane == "sync":
            for event in events:
                hook(event=event)
            return
        for event in events:
            for result in hook(event=event):
                await result


def _hook(event: object) -> None:
    pass


class _Plugin:
    def __init__(self, ping: Handler) -> None:
        self.ping = ping

    def __dir__(self) -> list[str]:
        return ["ping"]  # pluggy looks at every attribute, which takes long for a thousand plugins


class AioSignal(Contender):
    """aiosignal: a frozen list of async functions."""

    name = "aiosignal"
    package = "aiosignal"
    lanes = ("async",)
    note = "no sync handlers, and none can be added once it is used"

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self._signal = _load("aiosignal").Signal(owner=None)

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._signal.append(handler)

    def complete(self) -> None:
        self._signal.freeze()

    async def emit_all(self, events: Sequence[Any]) -> None:
        send = self._signal.send
        for event in events:
            await send(event)


class _ModelBus(Contender):
    """A bus of pydantic events that keep the results of their handlers, so that each can be emitted once."""

    note = "each emit needs a new event, made outside the measurement"
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        module = _load(str(self.package))
        self._event = _load("pydantic").create_model("Ping", __base__=module.BaseEvent, n=(int, 0))
        self._bus = module.EventBus(**self.options)

    def add(self, handler: Handler, priority: int = 0) -> None:
        self._bus.on(self._event, handler)

    def events(self, count: int) -> Sequence[Any]:
        return [self._event() for _ in range(count)]


class Bubus(_ModelBus):
    """bubus."""

    name = "bubus"
    package = "bubus"
    note = f"{_ModelBus.note}; it grows slower until its history holds 50"

    async def emit_all(self, events: Sequence[Any]) -> None:
        dispatch = self._bus.dispatch
        for event in events:
            await dispatch(event)

    async def aclose(self) -> None:
        await self._bus.stop(timeout=0, clear=True)


class Abxbus(_ModelBus):
    """abxbus, the successor of bubus; unless it may drop old events it refuses the 101st."""

    name = "abxbus"
    package = "abxbus"
    options: ClassVar[Mapping[str, Any]] = {"max_history_drop": True}

    async def emit_all(self, events: Sequence[Any]) -> None:
        emit = self._bus.emit
        for event in events:
            await emit(event)

    async def aclose(self) -> None:
        await self._bus.destroy()


OTHER_BUSES: tuple[type[Contender], ...] = (
    BlinkerAsync,
    BlinkerSend,
    Pyee,
    Psygnal,
    Pluggy,
    AioSignal,
    Bubus,
    Abxbus,
)
