"""All events of a start in the order in which they fire, and the hook of a callback class for each of eight."""

from eventinit.events.failure import EngineDied, PhaseFailed
from eventinit.events.lifecycle import (
    LifecycleEvent,
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
from eventinit.events.progress import DownloadProgress
from eventinit.events.shutdown import PostShutdown, PreShutdown

HOOKS: dict[str, type[LifecycleEvent]] = {
    "on_pre_initialization": PreInitialization,
    "on_pre_download": PreDownload,
    "on_post_download": PostDownload,
    "on_pre_placement_group": PrePlacementGroup,
    "on_post_placement_group": PostPlacementGroup,
    "on_pre_engine_init": PreEngineInit,
    "on_post_engine_init": PostEngineInit,
    "on_post_initialization": PostInitialization,
}

CATALOGUE: tuple[type[StartEvent], ...] = (
    PreInitialization,
    PreDownload,
    DownloadProgress,
    PostDownload,
    PrePlacementGroup,
    PostPlacementGroup,
    PreEngineInit,
    PostEngineInit,
    PostInitialization,
    PhaseFailed,
    EngineDied,
    PreShutdown,
    PostShutdown,
)
