"""The typed events of a node's start; each says when it fires, and ``CATALOGUE`` lists them in that order."""

if __name__ != "eventinit.events":
    raise ImportError("this folder is installed as eventinit.events: import that instead of events")

from eventinit.event import Event, ObserverSetAside, VetoableEvent
from eventinit.events.catalogue import CATALOGUE, HOOKS
from eventinit.events.failure import EngineDied, PhaseFailed
from eventinit.events.lifecycle import (
    ContextEvent,
    LifecycleEvent,
    PhaseOutcome,
    PostDownload,
    PostEngineInit,
    PostEvent,
    PostInitialization,
    PostPlacementGroup,
    PreDownload,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
    StartEvent,
)
from eventinit.events.node_download import NodeDownloadEvent, PostNodeDownload, PreNodeDownload
from eventinit.events.progress import DownloadProgress, PlacementPending
from eventinit.events.shutdown import PostShutdown, PreShutdown
from eventinit.events.wire import from_json, to_json

__all__ = [
    "CATALOGUE",
    "HOOKS",
    "ContextEvent",
    "DownloadProgress",
    "EngineDied",
    "Event",
    "LifecycleEvent",
    "NodeDownloadEvent",
    "ObserverSetAside",
    "PhaseFailed",
    "PhaseOutcome",
    "PlacementPending",
    "PostDownload",
    "PostEngineInit",
    "PostEvent",
    "PostInitialization",
    "PostNodeDownload",
    "PostPlacementGroup",
    "PostShutdown",
    "PreDownload",
    "PreEngineInit",
    "PreInitialization",
    "PreNodeDownload",
    "PrePlacementGroup",
    "PreShutdown",
    "StartEvent",
    "VetoableEvent",
    "from_json",
    "to_json",
]
