"""What a start needs from the world outside: where models come from, a cluster, and an engine.

Each port has one real implementation per kind (``eventinit.downloads``, ``eventinit.backends``) and a fake in
``eventinit.testing``. Implementations never block the event loop and may be cancelled at every await.
"""

from eventinit.ports.backends import Backends
from eventinit.ports.capacity import Capacity, NodeCapacity
from eventinit.ports.cluster import (
    ACCELERATOR_TYPE,
    ACCELERATORS,
    Bundle,
    Cluster,
    ClusterNode,
    GroupPlacement,
    NodeFetch,
    Strategy,
)
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
    "ACCELERATORS",
    "ACCELERATOR_TYPE",
    "DOWNLOAD_MODES",
    "Backends",
    "Bundle",
    "Capacity",
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
    "NodeCapacity",
    "NodeFetch",
    "OpenSource",
    "Report",
    "RunningEngine",
    "Strategy",
    "union",
]
