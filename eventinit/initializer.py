"""The start of a node, in five steps, and its end."""

import logging
import multiprocessing
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import final

from anyio import CancelScope

from eventinit.attachment import Attachment
from eventinit.backends import real_backends
from eventinit.background import BackgroundTasks
from eventinit.bus import EventBus
from eventinit.callback import load_subscribers
from eventinit.config import LLMConfig
from eventinit.context import NodeInitializationContext, seal
from eventinit.errors import EngineDiedError, EventInitError, LifecycleError
from eventinit.event import Event
from eventinit.events import (
    EngineDied,
    PhaseOutcome,
    PostInitialization,
    PostShutdown,
    PreInitialization,
    PreShutdown,
    StartEvent,
)
from eventinit.joining import Awaited, in_child_task, together, typed_errors
from eventinit.logs import log_event
from eventinit.luggage import handling_on_nodes
from eventinit.node import Node
from eventinit.own_thread import OwnThread
from eventinit.phases.arguments import check_argument_names
from eventinit.phases.download import download
from eventinit.phases.engine import start_engine
from eventinit.phases.placement import place, use_supplied
from eventinit.ports import Backends, ClusterNode, RunningEngine
from eventinit.start import PhaseRun, Start
from eventinit.threads import GRACE_S, run_in_thread
from eventinit.undo import Undo, UndoList

RAY_STOP_DEADLINE_S = 30.0
HOUSE_DEADLINE_S = 10.0


@final
class NodeInitializer:
    """Starts one node and ends it: ``await start()``, later ``await aclose()``, from any tasks of one event loop.

    Args:
        config: What to start.
        bus: Where the events go; by default a bus of its own.
        backends: The parts a start is made of; by default Ray, vLLM and the real stores.
    """

    def __init__(self, config: LLMConfig, bus: EventBus | None = None, *, backends: Backends | None = None) -> None:
        self._bus = bus or EventBus()
        self._house = UndoList()
        self._started = False
        self._node: Node | None = None
        backends = backends or real_backends()
        self._start = Start(config, self._bus, backends, backends.cluster(), NodeInitializationContext(config))

    async def start(self) -> Node:
        """Start the node; when that fails or is cancelled, whatever was made is undone before the error is raised.

        Raises:
            LifecycleError: It was called before.
            EventInitError: The start failed; the class says how.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise LifecycleError(
                "a process that vLLM has started is importing your main module, which starts a node;"
                " do that only below `if __name__ == '__main__':`"
            )
        if self._started:
            raise LifecycleError("start() was called before; make another NodeInitializer for another node")
        self._started = True
        try:
            self._node = await in_child_task(self._bring_up)
        except BaseException as error:
            with CancelScope(shield=True):
                await in_child_task(partial(self._undo_everything, error))
            raise
        return self._node

    async def aclose(self) -> None:
        """Stop the engine and release what the start made; twice is harmless."""
        node, self._node = self._node, None
        if node is None:
            return
        node.mark_gone(LifecycleError(f"the node of {node.config.model_id!r} has been closed; start another"))
        with CancelScope(shield=True):
            await in_child_task(self._shut_down)

    async def _bring_up(self) -> Node:
        start = self._start
        await self._open_house()
        start.undos.push("ray", start.cluster.disconnect, deadline_s=RAY_STOP_DEADLINE_S)
        await start.cluster.connect(start.config.ray_address)
        timeout_s = start.config.initialization_timeout_s
        async with start.phase("initialization", timeout_s, "initialization_timeout_s") as phase:
            asked = await start.ask(PreInitialization)
            if phase.note_vetoes(asked):
                await _skip_to_the_engine(start, phase)
            else:
                await _prepare(start)
            engine = await start_engine(start)
        await start.tell(PostInitialization, phase)
        return await self._hand_out(engine)

    async def _open_house(self) -> None:
        """Open the bus and put the configuration's subscribers on it."""
        # A constructor may start Ray, which lives no longer than the thread that started it.
        thread = OwnThread("eventinit-subscribers")
        self._house.push("thread of the subscribers", _ending(thread), deadline_s=HOUSE_DEADLINE_S)
        load = partial(load_subscribers, self._start.config)
        subscribers = await run_in_thread(load, name="load subscribers", patience_s=GRACE_S, thread=thread)
        await self._bus.open()
        self._house.push("event bus", self._bus.aclose, deadline_s=HOUSE_DEADLINE_S)
        attached: list[Attachment] = []
        for attachment in subscribers.attach(self._bus, self._is_mine):
            self._house.push("subscribers", attachment.detach, deadline_s=HOUSE_DEADLINE_S)
            attached.append(attachment)
        self._start.on_nodes = handling_on_nodes(self._start.config, attached)

    def _is_mine(self, event: Event) -> bool:
        """Return whether an event is no other node's."""
        return not isinstance(event, StartEvent) or event.start_id == self._start.id

    async def _hand_out(self, engine: RunningEngine) -> Node:
        await self._start.cluster.claim()
        node = Node(engine, self._start.context, self._start.config, self._start.timeline)
        watch = BackgroundTasks()
        await watch.open()
        self._start.undos.push("engine watch", watch.aclose, deadline_s=HOUSE_DEADLINE_S)
        watch.start_soon(partial(self._watch, node, engine), "eventinit engine watch")
        return node

    async def _watch(self, node: Node, engine: RunningEngine) -> None:
        try:
            with typed_errors():
                reason = await engine.wait_until_dead()
        except EventInitError as error:  # the node runs on, and nobody waits for its watch
            log_event(logging.ERROR, "engine_watch_failed", error, model=node.config.model_id)
            return
        node.mark_gone(
            EngineDiedError(f"the engine of {node.config.model_id!r} has ended: {reason}; start another node")
        )
        log_event(logging.ERROR, "engine_died", model=node.config.model_id, reason=reason)
        await self._start.notify(EngineDied(start_id=self._start.id, reason=reason))

    async def _shut_down(self) -> None:
        start = self._start
        span = start.timeline.begin("shutdown")
        await start.notify(PreShutdown(start_id=start.id, context=start.context))
        await start.undos.unwind()
        start.timeline.end(span, "completed")
        outcome = PhaseOutcome(seconds=span.seconds)
        await start.notify(PostShutdown(start_id=start.id, context=start.context, outcome=outcome))
        await self._house.unwind()

    async def _undo_everything(self, error: BaseException) -> None:
        failures = [*await self._start.undos.unwind(), *await self._house.unwind()]
        if isinstance(error, EventInitError):
            error.attach(failures)


def _ending(thread: OwnThread) -> Undo:
    async def end() -> None:
        thread.end()

    return end


async def _prepare(start: Start) -> None:
    """Download and reserve at the same time, and load the engine's code meanwhile."""
    placed: Awaited[Sequence[ClusterNode]] = Awaited()
    await together(partial(download, start, placed), partial(place, start, placed), partial(_warm_up, start))


async def _warm_up(start: Start) -> None:
    """Load what needs neither weights nor placement; an unknown engine argument is refused here, early."""
    with start.timeline.timed("warm_up"):
        await check_argument_names(start)


async def _skip_to_the_engine(start: Start, phase: PhaseRun) -> None:
    """Fix the fields whose phases do not run, so that setting them later is not silently ignored."""
    skipped = ("local_node_download_model", "worker_node_download_model", "placement_group")
    seal(start.context, *skipped, phase="vetoed initialization")
    if start.context.placement_group is not None:
        await use_supplied(start, phase)


@asynccontextmanager
async def initialize_node(
    config: LLMConfig, *, bus: EventBus | None = None, backends: Backends | None = None
) -> AsyncGenerator[Node]:
    """Start a node for the block, and stop it when the block is left.

    Args:
        config: What to start.
        bus: Where the events go; one that is not open is opened for as long as the node lives.
        backends: The parts a start is made of; by default Ray, vLLM and the real stores.

    Raises:
        EventInitError: The start failed; nothing is left of it.
    """
    initializer = NodeInitializer(config, bus, backends=backends)
    node = await initializer.start()
    try:
        yield node
    finally:
        await initializer.aclose()
