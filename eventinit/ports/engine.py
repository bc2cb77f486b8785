"""What starts engines, and an engine that runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from eventinit.owner import SHARED


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What an engine is started with.

    Attributes:
        arguments: vLLM's engine arguments, ``model`` included.
        group: The placement group for the engine's workers, or None for workers on this node without one.
        on_cluster: Whether the workers run in the bundles of the group (vLLM's ``ray`` executor).
        cluster_address: Where the engine's processes find the cluster.
        runtime_env: The Ray runtime environment of the workers.
        start_id: The start that the engine belongs to.
    """

    arguments: Mapping[str, Any]
    group: object | None
    on_cluster: bool
    cluster_address: str | None
    runtime_env: Mapping[str, Any]
    start_id: str = SHARED


class RunningEngine(Protocol):
    """An engine that has started."""

    @property
    def engine(self) -> Any:
        """The engine that users talk to; with vLLM an ``AsyncLLMEngine``."""
        ...

    async def wait_until_dead(self) -> str:
        """Return why the engine ended when it ends by itself."""
        ...

    async def stop(self, grace_s: float) -> None:
        """End the engine and all its processes: politely at first, by force after ``grace_s`` seconds."""
        ...


class EngineBackend(Protocol):
    """Starts engines of one kind."""

    async def argument_names(self) -> frozenset[str]:
        """Load the engine's code and return the names of the arguments it takes."""
        ...

    async def launch(self, request: EngineRequest) -> RunningEngine:
        """Start an engine; when that fails or is cancelled no process or file of it is left.

        Raises:
            EngineError: It did not start; the class says why.
        """
        ...
