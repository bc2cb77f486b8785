"""The engine-init phase: vLLM's engine starts on the files and the group that are there now."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from eventinit.context import seal
from eventinit.errors import EngineArgumentError, GroupTooSmallError, ModelPathError
from eventinit.events import PostEngineInit, PreEngineInit
from eventinit.frozen import thaw
from eventinit.joining import Awaited
from eventinit.logs import log_event
from eventinit.phases.arguments import check_argument_names, engine_arguments
from eventinit.phases.bundles import asks_for_accelerators, holders, replica_count, worker_count
from eventinit.phases.group_watch import while_group_lasts
from eventinit.phases.node_downloads import fetch_on_others
from eventinit.phases.placement import UNDO, nodes_of_group, reserve
from eventinit.ports import ClusterNode, DownloadResult, EngineRequest, GroupPlacement, RunningEngine
from eventinit.start import PhaseRun, Start

KILL_DEADLINE_S = 15.0
"""What stopping an engine may take beyond ``shutdown_timeout_s``, for killing what did not stop."""


async def start_engine(start: Start) -> RunningEngine:
    """Start the engine and return it; its undo stops it."""
    async with start.phase("engine_init", start.config.engine_timeout_s, "engine_timeout_s") as phase:
        await start.ask(PreEngineInit)
        seal(start.context, "extra_init_kwargs", "runtime_env", phase="engine_init")
        await check_argument_names(start)
        arguments = engine_arguments(start)
        on_cluster = await _fit_group(start, phase, arguments)
        launch = partial(_launch, start, _request(start, arguments, on_cluster=on_cluster))
        engine = await (while_group_lasts(start, launch) if on_cluster else launch())
    await start.tell(PostEngineInit, phase)
    return engine


def _refuse_other_paths(start: Start, arguments: dict[str, Any], placement: GroupPlacement) -> None:
    """Make sure that workers on other nodes find the model where this node has it, unless a handler says where it is.

    Raises:
        ModelPathError: They do not.
    """
    result = start.context.download_result
    if result is None or arguments["model"] != str(result.path):
        return
    chosen = set(placement.node_ids)
    paths = start.paths_elsewhere.items()
    others = {node_id: path for node_id, path in paths if node_id in chosen and path != result.path}
    if others:
        raise ModelPathError(result.source, result.path, others)


async def _launch(start: Start, request: EngineRequest) -> RunningEngine:
    engine = await start.backends.engine.launch(request)
    grace_s = start.config.shutdown_timeout_s
    start.undos.push("engine", partial(engine.stop, grace_s), deadline_s=grace_s + KILL_DEADLINE_S)
    return engine


def _request(start: Start, arguments: dict[str, Any], *, on_cluster: bool) -> EngineRequest:
    return EngineRequest(
        arguments=arguments,
        group=start.context.placement_group,
        on_cluster=on_cluster,
        cluster_address=start.cluster.address(),
        runtime_env=thaw(start.context.runtime_env),
        start_id=start.id,
    )


async def _fit_group(start: Start, phase: PhaseRun, arguments: dict[str, Any]) -> bool:
    """Make sure that the group has a bundle for each worker; return whether the workers run in the bundles.

    Raises:
        GroupTooSmallError: A group that is not ours to replace has too few.
        ModelPathError: The workers of another node would not find the model.
    """
    if start.context.placement_group is None:
        return False
    workers = worker_count(arguments)
    placement = await start.cluster.placement_of(start.context.placement_group)
    if len(holders(placement.bundles)) < workers and _is_ours_to_replace(start):
        placement = await _replace_group(start, phase, workers)
    on_cluster = _runs_on_cluster(placement, await start.cluster.nodes())
    bundles = len(holders(placement.bundles))
    if on_cluster and bundles < workers:
        raise GroupTooSmallError(bundles, workers)
    _refuse_replicas(arguments, on_cluster=on_cluster)
    if on_cluster:
        _refuse_other_paths(start, arguments, placement)
    return on_cluster


def _refuse_replicas(arguments: dict[str, Any], *, on_cluster: bool) -> None:
    """Refuse data parallelism that does not go with a group that is given, in which vLLM would wait for ever.

    Its Ray executor puts every replica into the first bundles, and its Ray back end reserves groups of its own.
    """
    if arguments.get("data_parallel_backend") == "ray":
        raise EngineArgumentError(
            "data_parallel_backend='ray' makes vLLM reserve placement groups beside the one of this start;"
            " leave it out, or veto PrePlacementGroup"
        )
    replicas = replica_count(arguments)
    executor = arguments.get("distributed_executor_backend") or ("ray" if on_cluster else "mp")
    if replicas > 1 and executor == "ray":
        raise EngineArgumentError(
            f"vLLM's ray executor cannot run {replicas} data-parallel replicas in one placement group; start a node for"
            " each replica, or set distributed_executor_backend='mp' and keep the group on this node"
        )


def _is_ours_to_replace(start: Start) -> bool:
    return start.undos.has(UNDO) and start.config.placement_group_config.bundles is None


async def _replace_group(start: Start, phase: PhaseRun, workers: int) -> GroupPlacement:
    log_event(
        logging.WARNING,
        "placement_group_replaced",
        workers=workers,
        reason="PreEngineInit changed the number of workers; change it in PreInitialization to reserve only once",
    )
    before = await nodes_of_group(start)
    await start.cluster.remove_group(start.context.placement_group)
    start.undos.drop(UNDO)
    await reserve(start, phase, workers)
    if start.context.download_result is not None:
        fetched = Awaited[DownloadResult | None]()
        fetched.set(start.context.download_result)
        await fetch_on_others(start, [node for node in await nodes_of_group(start) if node not in before], fetched)
    return await start.cluster.placement_of(start.context.placement_group)


def _runs_on_cluster(placement: GroupPlacement, nodes: Sequence[ClusterNode]) -> bool:
    """Return whether workers must run in the bundles: they reserve devices, or not all of them are on this node."""
    local = {node.node_id for node in nodes if node.is_local}
    return asks_for_accelerators(placement.bundles) or not set(placement.node_ids) <= local
