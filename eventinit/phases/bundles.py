"""Which bundles a start reserves, and whether the cluster can ever hold them."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from eventinit.config import LLMConfig
from eventinit.errors import EngineArgumentError
from eventinit.ports import Bundle, ClusterNode, Strategy

ACCELERATORS = frozenset({"GPU", "TPU", "NPU", "HPU", "neuron_cores"})
"""Ray's names of resources that are devices."""
_SIZES_OF_A_REPLICA = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")

MOST_CANDIDATES = 64


def worker_count(arguments: Mapping[str, Any]) -> int:
    """Return how many workers an engine has: those of one replica of the model, for each replica that it runs.

    Raises:
        EngineArgumentError: A size is no positive whole number.
    """
    return prod(_size(arguments, name) for name in _SIZES_OF_A_REPLICA) * replica_count(arguments)


def replica_count(arguments: Mapping[str, Any]) -> int:
    """Return how many data-parallel ranks an engine runs: one where it is itself a rank among other engines.

    Raises:
        EngineArgumentError: A size is no positive whole number.
    """
    if arguments.get("data_parallel_rank") is not None or arguments.get("data_parallel_external_lb"):
        return 1
    ranks = "data_parallel_size" if arguments.get("data_parallel_size_local") is None else "data_parallel_size_local"
    return _size(arguments, ranks)


def _size(arguments: Mapping[str, Any], name: str) -> int:
    value = arguments.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EngineArgumentError(f"{name} is {value!r}; it takes a whole number from 1 up")
    return value


def bundles_for(config: LLMConfig, workers: int, nodes: Sequence[ClusterNode]) -> list[Bundle]:
    """Return the configured bundles, or one per worker: with a GPU where the cluster has them, else with a CPU."""
    wanted = config.placement_group_config
    if wanted.bundles is not None:
        return [dict(bundle) for bundle in wanted.bundles]
    if wanted.bundle_per_worker is not None:
        return [dict(wanted.bundle_per_worker) for _ in range(workers)]
    has_gpus = any(node.resources.get("GPU", 0) > 0 for node in nodes)
    return [{"CPU": 1.0, "GPU": 1.0} if has_gpus else {"CPU": 1.0} for _ in range(workers)]


def asks_for_accelerators(bundles: Sequence[Bundle]) -> bool:
    """Return whether any bundle reserves a device."""
    return any(name in ACCELERATORS and amount > 0 for bundle in bundles for name, amount in bundle.items())


def why_never_placed(bundles: Sequence[Bundle], strategy: Strategy, nodes: Sequence[ClusterNode]) -> str | None:
    """Return why these nodes can never hold the bundles, even when they are idle, or None when they may.

    Checks each bundle by itself and all of them together; it does not solve the packing.
    """
    if strategy == "STRICT_SPREAD" and len(bundles) > len(nodes):
        return f"STRICT_SPREAD needs {len(bundles)} nodes and the cluster has {len(nodes)}"
    parts = [_sum(bundles)] if strategy == "STRICT_PACK" else list(bundles)
    for part in parts:
        if not any(_fits(part, node.resources) for node in nodes):
            return f"no node has {_text(part)} (the largest has {_text(_largest(part, nodes))})"
    total, there = _sum(bundles), _sum([dict(node.resources) for node in nodes])
    if not _fits(total, there):
        had = {name: there.get(name, 0) for name in total}
        return f"together they need {_text(total)} and the cluster has {_text(had)}"
    return None


def candidates(bundles: Sequence[Bundle], nodes: Sequence[ClusterNode]) -> list[ClusterNode]:
    """Return the other nodes that have room for a bundle, or 64 of them: a cluster may have a thousand."""

    def has_room(node: ClusterNode) -> bool:
        return any(_fits(bundle, node.resources) for bundle in bundles)

    return [node for node in nodes if not node.is_local and has_room(node)][:MOST_CANDIDATES]


def _fits(bundle: Mapping[str, float], resources: Mapping[str, float]) -> bool:
    return all(resources.get(name, 0) >= amount for name, amount in bundle.items())


def _sum(bundles: Sequence[Mapping[str, float]]) -> Bundle:
    names = {name for bundle in bundles for name in bundle}
    return {name: sum(bundle.get(name, 0) for bundle in bundles) for name in sorted(names)}


def _largest(bundle: Mapping[str, float], nodes: Sequence[ClusterNode]) -> Bundle:
    return {name: max((node.resources.get(name, 0) for node in nodes), default=0) for name in bundle}


def _text(bundle: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in bundle.items())
