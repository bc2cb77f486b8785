"""The real parts of a start, one file per kind."""

from eventinit.backends.ray_cluster import RayCluster
from eventinit.backends.vllm_engine import VLLMEngine
from eventinit.downloads import open_source
from eventinit.ports import Backends


def real_backends() -> Backends:
    """Return Ray, vLLM and the real stores."""
    return Backends(open_source=open_source, cluster=RayCluster, engine=VLLMEngine())
