"""One start under way: what its phases share, and the frame in which each of them runs."""

import logging
import math
import uuid
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from anyio import CancelScope, current_time, get_cancelled_exc_class, move_on_after

from eventinit import clock
from eventinit.bus import EventBus
from eventinit.config import LLMConfig
from eventinit.context import NodeInitializationContext
from eventinit.errors import HandlerError, PhaseTimeoutError
from eventinit.events import DownloadProgress, LifecycleEvent, PhaseFailed, PhaseOutcome, PostEvent, StartEvent
from eventinit.joining import Awaited, typed_errors
from eventinit.logs import log_event
from eventinit.outcome import Outcome
from eventinit.ports import Backends, Cluster, ClusterNode
from eventinit.timeline import Span, Timeline
from eventinit.undo import UndoList

FAILURE_GRACE_S = 5.0
"""How long the handlers of ``PhaseFailed`` may take while a cancelled or failed start waits for them."""


@final
@dataclass(slots=True)
class PhaseRun:
    """How a phase goes; its ``outcome`` is for the post event, once the phase is over."""

    name: str
    span: Span
    status: Literal["completed", "vetoed", "supplied", "skipped"] = "completed"
    reasons: tuple[str, ...] = ()
    waiting_for: str | None = None
    limit: CancelScope = field(default_factory=CancelScope)

    def note_vetoes(self, asked: Outcome) -> bool:
        """Take over what the pre event came to; return whether it was vetoed."""
        if asked.vetoed:
            self.status = "vetoed"
            self.reasons = tuple(str(veto) for veto in asked.vetoes)
        return asked.vetoed

    @contextmanager
    def clock_stopped(self) -> Generator[None]:
        """Do not count what happens in the block against the phase's timeout."""
        left_s = self.limit.deadline - current_time()
        self.limit.deadline = math.inf
        try:
            yield
        finally:
            self.limit.deadline = current_time() + left_s

    @property
    def outcome(self) -> PhaseOutcome:
        """The phase as its post event tells it."""
        return PhaseOutcome(status=self.status, reasons=self.reasons, seconds=self.span.seconds)


@final
@dataclass(slots=True)
class Start:
    """What the phases of one start share."""

    config: LLMConfig
    bus: EventBus
    backends: Backends
    cluster: Cluster
    context: NodeInitializationContext
    undos: UndoList = field(default_factory=UndoList)
    timeline: Timeline = field(default_factory=Timeline)
    on_nodes: LLMConfig | None = None
    """The configuration with only those subscribers that are built on other nodes as well; None without any."""
    candidates: Awaited[Sequence[ClusterNode]] = field(default_factory=Awaited[Sequence[ClusterNode]])
    """The other nodes that the group may come to be on, once it is asked for."""
    fetching: dict[str, DownloadProgress] = field(default_factory=dict[str, DownloadProgress])
    """The latest progress of each node that has not fetched everything; this node's id is empty."""
    paths_elsewhere: dict[str, Path] = field(default_factory=dict[str, Path])
    """Where the model is on each other node that has fetched it."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    async def ask(self, event_type: type[LifecycleEvent]) -> Outcome:
        """Emit a pre event and return what came of it."""
        return await self.bus.emit(event_type(start_id=self.id, context=self.context))

    async def tell(self, event_type: type[PostEvent], phase: PhaseRun) -> None:
        """Emit a post event with the outcome of its phase."""
        await self.bus.emit(event_type(start_id=self.id, context=self.context, outcome=phase.outcome))

    @asynccontextmanager
    async def phase(self, name: str, timeout_s: float | None, setting: str) -> AsyncGenerator[PhaseRun]:
        """Run a phase from its pre event to just before its post event.

        A phase that fails or is cancelled emits ``PhaseFailed`` instead of the post event, which is emitted after the
        block, so that what goes wrong in its handlers belongs to the enclosing phase.

        Raises:
            PhaseTimeoutError: The block took longer than ``timeout_s``; ``setting`` is what sets it.
            UnexpectedError: It raised an error that is not eventinit's own.
        """
        run = PhaseRun(name, self.timeline.begin(name))
        began = clock.monotonic()
        try:
            with typed_errors(), run.limit:
                run.limit.deadline = math.inf if timeout_s is None else current_time() + timeout_s
                yield run
            if run.limit.cancelled_caught:
                raise PhaseTimeoutError(name, timeout_s or 0.0, setting, run.waiting_for)
        except get_cancelled_exc_class():
            self.timeline.end(run.span, "cancelled")
            await self._tell_failed(run, "Cancelled", "", began, cancelled=True)
            raise
        except Exception as error:
            self.timeline.end(run.span, "failed")
            await self._tell_failed(run, type(error).__name__, str(error), began, cancelled=False)
            raise
        self.timeline.end(run.span, run.status)

    async def _tell_failed(self, run: PhaseRun, error: str, message: str, began: float, *, cancelled: bool) -> None:
        event = PhaseFailed(
            start_id=self.id,
            context=self.context,
            failed_phase=run.name,
            error=error,
            message=message,
            cancelled=cancelled,
            seconds=clock.monotonic() - began,
            reasons=run.reasons,
        )
        await self.notify(event)

    async def notify(self, event: StartEvent) -> None:
        """Emit an event whose handlers can stop nothing: a failure is logged, and they have a few seconds."""
        with CancelScope(shield=True), move_on_after(FAILURE_GRACE_S):
            try:
                await self.bus.emit(event)
            except HandlerError as error:
                log_event(logging.ERROR, "handler_failed", error, handler=error.handler, event=error.event)
