"""What a start hands out: a running engine with everything that belongs to it."""

from typing import Any, final

from eventinit.config import LLMConfig
from eventinit.context import NodeInitializationContext
from eventinit.errors import EngineDiedError, LifecycleError
from eventinit.ports import RunningEngine
from eventinit.timeline import Timeline


@final
class Node:
    """A running engine with everything that belongs to it.

    Attributes:
        context: The context as the handlers of the start have left it.
        config: The configuration it was started with.
        timeline: When each phase of the start ran.
    """

    def __init__(
        self, engine: RunningEngine, context: NodeInitializationContext, config: LLMConfig, timeline: Timeline
    ) -> None:
        self.context = context
        self.config = config
        self.timeline = timeline
        self._engine = engine
        self._gone: LifecycleError | EngineDiedError | None = None

    @property
    def engine(self) -> Any:
        """The engine, vLLM's ``AsyncLLMEngine``; call it from one event loop only.

        Raises:
            EngineDiedError: It has ended by itself.
            LifecycleError: The node has been closed.
        """
        if self._gone is not None:
            raise self._gone
        return self._engine.engine

    @property
    def is_running(self) -> bool:
        """Whether the engine can be used."""
        return self._gone is None

    def mark_gone(self, error: LifecycleError | EngineDiedError) -> None:
        """Note why the engine can no longer be used; the first reason counts."""
        self._gone = self._gone or error
