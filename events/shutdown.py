"""The two events around the end of a node that was handed out."""

from eventinit.events.lifecycle import LifecycleEvent, PostEvent


class PreShutdown(LifecycleEvent):
    """The node is about to stop; its engine still runs. A handler that fails is logged and stops nothing."""

    phase = "shutdown"


class PostShutdown(PostEvent):
    """The engine is stopped and what the start created is released."""

    phase = "shutdown"
