"""What a start needs from the world outside: where models come from, a cluster, and an engine.

Each port has one real implementation per kind (``eventinit.downloads``, ``eventinit.backends``) and a fake in
``eventinit.testing``. Implementations never block the event loop and may be cancelled at every await.
"""

from eventinit.ports.backends import Backends
from eventinit.ports.cluster import Bundle, Cluster, ClusterNode, GroupPlacement, NodeFetch, Strategy
from eventinit.ports.engine import EngineBackend, EngineRequest, RunningEngine
from eventinit.ports.source import (
    DOWNLOAD_MODES,
    DownloadMode,
    DownloadRequest,
    DownloadResult,
    DownloadSettings,
    FetchProgress,
    ModelSource,
    OpenSource,
    Report,
    union,
)

__all__ = [
    "DOWNLOAD_MODES",
    "Backends",
    "Bundle",
    "Cluster",
    "ClusterNode",
    "DownloadMode",
    "DownloadRequest",
    "DownloadResult",
    "DownloadSettings",
    "EngineBackend",
    "EngineRequest",
    "FetchProgress",
    "GroupPlacement",
    "ModelSource",
    "NodeFetch",
    "OpenSource",
    "Report",
    "RunningEngine",
    "Strategy",
    "union",
]
