"""The pre and post events of the four phases, one pair for two of the hooks each."""

from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from eventinit import clock
from eventinit.context import NodeInitializationContext, read_only
from eventinit.errors import DetachedContextError
from eventinit.event import Event, VetoableEvent


class StartEvent(Event):
    """Whatever happens during the life of one node.

    Attributes:
        start_id: Tells the events of one node from those of another on the same bus.
        at: When it was emitted, in seconds since the epoch.
    """

    start_id: str = ""
    at: float = Field(default_factory=clock.now)


class _Detached:
    """Stands for the context of an event that was rebuilt from JSON."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(name)

    def __setattr__(self, name: str, _value: Any) -> None:
        self._refuse(name)

    def __delattr__(self, name: str) -> None:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise DetachedContextError(
            f"context.{name} is not there: the event was rebuilt from JSON, which leaves the context out;"
            " subscribe to the bus to get events with their context"
        )

    def __repr__(self) -> str:
        return "<no context: rebuilt from JSON>"


_DETACHED = cast("NodeInitializationContext", _Detached())


class ContextEvent(StartEvent):
    """An event with the context of its start.

    Attributes:
        context: What the handlers of the start share; observers see a read-only copy, and JSON leaves it out.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    audited: ClassVar[bool] = True

    context: Annotated[NodeInitializationContext, SkipValidation] = Field(default=_DETACHED, exclude=True, repr=False)

    def observed(self) -> Self:
        """Return the event with a read-only copy of the context as it is now."""
        if self.context is _DETACHED:
            return self
        return self.model_copy(update={"context": read_only(self.context)})

    def hook_argument(self) -> NodeInitializationContext:
        """Return the context, which is what hooks are called with."""
        return self.context


class LifecycleEvent(ContextEvent):
    """A step of a node's start or end, whose handlers may change the context as far as it is open."""


class PhaseOutcome(BaseModel):
    """How a phase ended.

    Attributes:
        status: ``completed``: done by eventinit; ``vetoed``: skipped because a handler vetoed it; ``supplied``: a
            handler brought the result; ``skipped``: there was nothing to do.
        reasons: For each veto its handler and reason.
        seconds: How long the phase took, its handlers included.
    """

    model_config = ConfigDict(frozen=True)

    status: Literal["completed", "vetoed", "supplied", "skipped"] = "completed"
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0


class PostEvent(LifecycleEvent):
    """Tells that a phase is over, and how it ended.

    Attributes:
        outcome: Whether it was completed, vetoed, supplied or skipped, the reasons of vetoes, and how long it took.
    """

    outcome: PhaseOutcome = PhaseOutcome()


class PreInitialization(LifecycleEvent, VetoableEvent):
    """Before anything. A veto skips download and placement group; the engine starts with the context as it is."""

    phase = "initialization"
    hook = "on_pre_initialization"


class PreDownload(LifecycleEvent, VetoableEvent):
    """Before the model's files are fetched. A veto skips the fetch on every node."""

    phase = "download"
    hook = "on_pre_download"


class PostDownload(PostEvent):
    """The files are on every node that needs them, or the download was vetoed."""

    phase = "download"
    hook = "on_post_download"


class PrePlacementGroup(LifecycleEvent, VetoableEvent):
    """Before the placement group is made. A veto skips that; setting ``context.placement_group`` supplies one."""

    phase = "placement_group"
    hook = "on_pre_placement_group"


class PostPlacementGroup(PostEvent):
    """The placement group is ready, was supplied, or was vetoed."""

    phase = "placement_group"
    hook = "on_post_placement_group"


class PreEngineInit(LifecycleEvent):
    """Download and placement group are done; the engine starts next with ``context.extra_init_kwargs`` on top."""

    phase = "engine_init"
    hook = "on_pre_engine_init"


class PostEngineInit(PostEvent):
    """The engine runs."""

    phase = "engine_init"
    hook = "on_post_engine_init"


class PostInitialization(PostEvent):
    """After everything: the node is about to be handed out."""

    phase = "initialization"
    hook = "on_post_initialization"
