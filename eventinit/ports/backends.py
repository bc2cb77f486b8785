"""All parts of a start together."""

from collections.abc import Callable
from dataclasses import dataclass

from eventinit.ports.cluster import Cluster
from eventinit.ports.engine import EngineBackend
from eventinit.ports.source import OpenSource


@dataclass(frozen=True, slots=True)
class Backends:
    """The parts that a start is made of; ``eventinit.testing`` has fakes of all three.

    Attributes:
        open_source: Gives the source of a ``model_source``.
        cluster: Gives the cluster of one start; called once for each.
        engine: Starts the engine.
    """

    open_source: OpenSource
    cluster: Callable[[], Cluster]
    engine: EngineBackend
