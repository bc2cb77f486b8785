"""What goes wrong."""

from eventinit.events.lifecycle import LifecycleEvent, StartEvent


class PhaseFailed(LifecycleEvent):
    """A phase whose pre event fired has failed or was cancelled; it takes the place of its post event.

    Attributes:
        failed_phase: The phase.
        error: The name of the error's class.
        message: Its text; empty when the phase was cancelled.
        cancelled: Whether the phase was cancelled rather than failed.
        seconds: How long the phase had run.
        reasons: For each veto of the phase its handler and reason.
    """

    failed_phase: str
    error: str
    message: str = ""
    cancelled: bool = False
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()


class EngineDied(StartEvent):
    """The engine of a running node has ended by itself.

    Attributes:
        reason: Why, as far as the engine's processes tell.
    """

    reason: str
