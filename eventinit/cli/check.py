"""``eventinit check``: what a configuration would do."""

from pathlib import Path

import anyio

from eventinit.bus import EventBus
from eventinit.callback import ConfiguredSubscribers, load_subscribers
from eventinit.config import LLMConfig
from eventinit.downloads import open_source
from eventinit.frozen import thaw
from eventinit.phases.bundles import worker_count
from eventinit.ports import FetchProgress
from eventinit.redaction import redact


def check(path: Path) -> int:
    """Validate a configuration, import what it names and print what a start would do. Return the exit status 0.

    Raises:
        EventInitError: Something in it is wrong.
    """
    config = LLMConfig.from_yaml(path)
    subscribers = load_subscribers(config)
    attached = list(subscribers.attach(EventBus(), lambda _event: True))
    anyio.run(_look_at_source, config)
    print(f"{path} is valid. A start would do this:\n")
    for name, text in _plan(config):
        print(f"  {name:<16} {text}")
    print("\nSubscribers, in the order in which they are attached:\n")
    for line in _subscriptions(subscribers, [a.names() for a in attached]) or ["none"]:
        print(f"  {line}")
    print("\nNot looked at: what a store holds, and the names of the engine's arguments (`run` looks early).")
    return 0


async def _look_at_source(config: LLMConfig) -> None:
    """Refuse a source that is none, or a folder that is not there; nothing is fetched, and no store is asked."""

    def ignore(_progress: FetchProgress) -> None:
        return

    await open_source(*config.sources, settings=config.download.settings()).fetch("NONE", ignore)


def _plan(config: LLMConfig) -> list[tuple[str, str]]:
    local, workers = config.local_node_download_model, config.worker_node_download_model
    arguments = redact("", thaw(config.engine_kwargs))
    return [
        ("model", config.model_id),
        ("ray", config.ray_address or "the cluster of RAY_ADDRESS, else an embedded one"),
        ("download", f"from {', else '.join(config.sources)}: this node {local}, nodes of the group {workers}"),
        ("placement_group", _placement(config)),
        ("engine_init", f"vLLM with {arguments or 'its default arguments'}"),
    ]


def _placement(config: LLMConfig) -> str:
    wanted = config.placement_group_config
    if wanted.bundles is not None:
        return f"{[dict(bundle) for bundle in wanted.bundles]}, {wanted.strategy}"
    each = dict(wanted.bundle_per_worker) if wanted.bundle_per_worker else "a CPU, and a GPU where the cluster has them"
    return f"{worker_count(config.engine_kwargs)} bundle(s), one per worker, of {each}; {wanted.strategy}"


def _subscriptions(subscribers: ConfiguredSubscribers, names: list[list[str]]) -> list[str]:
    kinds = ["callback"] if subscribers.callback is not None else []
    kinds += ["handler"] * len(subscribers.handlers)
    return [f"{kind}: {', '.join(listed) or 'no hooks'}" for kind, listed in zip(kinds, names, strict=True)]
