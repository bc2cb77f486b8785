"""Which bundles a start reserves, and which of them hold the engine's workers."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from eventinit.config import LLMConfig
from eventinit.errors import EngineArgumentError
from eventinit.ports import ACCELERATOR_TYPE, ACCELERATORS, Bundle, NodeCapacity

A_LITTLE = 0.001
"""What Ray asks of the resource of an accelerator's type, of which each node of that type has 1."""
_SIZES_OF_A_REPLICA = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")


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


def bundles_for(config: LLMConfig, workers: int, nodes: Sequence[NodeCapacity]) -> list[Bundle]:
    """Return the configured bundles, or one per worker: with a GPU where the cluster has them, else with a CPU.

    Each that asks for an accelerator asks for the configured type as well.
    """
    wanted = config.placement_group_config
    if wanted.bundles is not None:
        bundles = [dict(bundle) for bundle in wanted.bundles]
    elif wanted.bundle_per_worker is not None:
        bundles = [dict(wanted.bundle_per_worker) for _ in range(workers)]
    else:
        has_gpus = wanted.accelerator_type is not None or any(node.resources.get("GPU", 0) > 0 for node in nodes)
        bundles = [{"CPU": 1.0, "GPU": 1.0} if has_gpus else {"CPU": 1.0} for _ in range(workers)]
    if wanted.accelerator_type is not None:
        for bundle in holders(bundles):
            bundle[ACCELERATOR_TYPE + wanted.accelerator_type] = A_LITTLE
    return bundles


def holders(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return the bundles that can hold a worker: those with an accelerator, or all where none has one."""
    return [bundle for bundle in bundles if asks_for_accelerators([bundle])] or list(bundles)


def asks_for_accelerators(bundles: Sequence[Bundle]) -> bool:
    """Return whether any bundle reserves a device."""
    return any(name in ACCELERATORS and amount > 0 for bundle in bundles for name, amount in bundle.items())
