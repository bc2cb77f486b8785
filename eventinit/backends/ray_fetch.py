"""Fetch a model's files on one named node of a Ray cluster."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from eventinit.backends.ray_session import load_ray
from eventinit.errors import EventInitError, PlacementError
from eventinit.ports import DownloadRequest, DownloadResult
from eventinit.threads import run_in_thread


async def fetch_on_node(node_id: str, request: DownloadRequest, runtime_env: Mapping[str, Any]) -> DownloadResult:
    """Return what a fetch left on the node; cancelling kills the fetch there.

    Raises:
        EventInitError: What the fetch raised there.
        PlacementError: The node is gone, or cannot run eventinit.
    """
    ray = load_ray()
    submit = partial(_submit, node_id, request, dict(runtime_env))
    task = await run_in_thread(submit, name="submit of a fetch", undo=_kill)
    try:
        return await _answer(task)
    except asyncio.CancelledError:
        await run_in_thread(partial(_kill, task), name="end of a fetch", even_if_cancelled=True)
        raise
    except ray.exceptions.RayError as error:
        raise _translated(error, node_id, request.sources[0]) from error


async def _answer(task: Any) -> DownloadResult:
    result: DownloadResult = await task
    return result


def _submit(node_id: str, request: DownloadRequest, runtime_env: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def fetch_model(sources: tuple[str, ...], mode: Any, settings: dict[str, Any]) -> Any:
        # Defined here and given plain values, so that a node without eventinit says so in an ImportError.
        import anyio

        from eventinit.downloads import open_source
        from eventinit.ports import DownloadSettings

        def unreported(progress: object) -> None:
            pass

        source = open_source(*sources, settings=DownloadSettings(**settings))
        return anyio.run(source.fetch, mode, unreported)

    try:
        where = NodeAffinitySchedulingStrategy(node_id, soft=False)
        task: Any = load_ray().remote(num_cpus=0, max_retries=0, runtime_env=runtime_env or None)(fetch_model)
        return task.options(scheduling_strategy=where, name="eventinit.fetch").remote(
            request.sources, request.mode, asdict(request.settings)
        )
    except (TypeError, ValueError) as error:
        raise PlacementError(f"no task can be sent to node {node_id}: {error}; correct runtime_env") from error


def _kill(task: Any) -> None:
    load_ray().cancel(task, force=True)


def _translated(error: Any, node_id: str, model_source: str) -> EventInitError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, EventInitError):
        return cause
    where = f"{model_source} could not be fetched on node {node_id}"
    if isinstance(cause, ImportError) and (cause.name or "").partition(".")[0] in {"anyio", "eventinit"}:
        return PlacementError(
            f"{where}: eventinit is not installed there ({cause});"
            ' install it on every node, or add it to runtime_env, such as {"pip": ["eventinit"]}'
        )
    reason = f"{type(cause).__name__}: {cause}" if cause else f"{type(error).__name__}: {error}"
    return PlacementError(f"{where}: {reason}; `ray list nodes` shows which nodes are alive")
