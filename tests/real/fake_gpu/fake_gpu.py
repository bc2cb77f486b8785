"""A platform of vLLM for CPUs that Ray takes for GPUs. Whoever has this folder on its path gets it, as if installed."""

import os
from typing import Any

import ray
from vllm.platforms.cpu import CpuPlatform


def platform() -> str:
    return "fake_gpu.FakeGpuPlatform"


class FakeGpuPlatform(CpuPlatform):  # type: ignore[misc]
    ray_device_key = "GPU"


class Whereabouts:
    """What a worker tells of itself, as an extension of vLLM's worker class."""

    def whereabouts(self) -> dict[str, Any]:
        context: Any = ray.get_runtime_context()
        return {
            "node": context.get_node_id(),
            "group": context.get_placement_group_id(),
            "devices": len(context.get_accelerator_ids()["GPU"]),
            "mark": os.environ.get("EVENTINIT_MARK"),
            "pid": os.getpid(),
        }
