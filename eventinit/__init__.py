"""Start LLM inference nodes as typed async events that handlers can change, veto and watch."""

from eventinit.attachment import Attachment
from eventinit.bus import EventBus
from eventinit.change import ABSENT, Change, Override
from eventinit.config import HandlerConfig, LLMConfig, PlacementGroupConfig
from eventinit.context import NodeInitializationContext
from eventinit.errors import EventInitError
from eventinit.event import Event, ObserverSetAside, VetoableEvent
from eventinit.handler import HandlerOptions
from eventinit.initializer import NodeInitializer, initialize_node
from eventinit.marks import handles, observes
from eventinit.node import Node
from eventinit.outcome import Outcome
from eventinit.ports import Backends, DownloadMode, DownloadResult
from eventinit.preload import preload
from eventinit.streams import EventStream
from eventinit.subscription import SubscriberStatus, Subscription
from eventinit.timeline import Span, Timeline
from eventinit.veto import Veto, VetoRecord

__all__ = [
    "ABSENT",
    "Attachment",
    "Backends",
    "Change",
    "DownloadMode",
    "DownloadResult",
    "Event",
    "EventBus",
    "EventInitError",
    "EventStream",
    "HandlerConfig",
    "HandlerOptions",
    "LLMConfig",
    "Node",
    "NodeInitializationContext",
    "NodeInitializer",
    "ObserverSetAside",
    "Outcome",
    "Override",
    "PlacementGroupConfig",
    "Span",
    "SubscriberStatus",
    "Subscription",
    "Timeline",
    "Veto",
    "VetoRecord",
    "VetoableEvent",
    "handles",
    "initialize_node",
    "observes",
    "preload",
]
