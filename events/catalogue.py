"""All events of a start in the order in which they fire, and the hook of a callback class for each of ten."""

from eventinit.events.failure import EngineDied, PhaseFailed
from eventinit.events.lifecycle import (
    PostDownload,
    PostEngineInit,
    PostInitialization,
    PostPlacementGroup,
    PreDownload,
    PreEngineInit,
    PreInitialization,
    PrePlacementGroup,
    StartEvent,
)
from eventinit.events.node_download import PostNodeDownload, PreNodeDownload
from eventinit.events.progress import DownloadProgress, PlacementPending
from eventinit.events.shutdown import PostShutdown, PreShutdown

CATALOGUE: tuple[type[StartEvent], ...] = (
    PreInitialization,
    PreDownload,
    PreNodeDownload,
    DownloadProgress,
    PostNodeDownload,
    PostDownload,
    PrePlacementGroup,
    PlacementPending,
    PostPlacementGroup,
    PreEngineInit,
    PostEngineInit,
    PostInitialization,
    PhaseFailed,
    EngineDied,
    PreShutdown,
    PostShutdown,
)
"""Every event of a start, in the order in which they fire; those of the two branches interleave."""

HOOKS: dict[str, type[StartEvent]] = {kind.hook: kind for kind in CATALOGUE if kind.hook}
"""The event of each hook of a callback class, by the name of the hook."""
