"""Fetch a model's files on one named node of a Ray cluster, and follow how far that is."""

import pickle
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio

from eventinit.backends.ray_session import load_ray
from eventinit.errors import EventInitError, NodeFetchError
from eventinit.joining import in_child_task
from eventinit.ports import DownloadResult, NodeFetch, Report
from eventinit.threads import run_in_thread

_GRACE_S: Final = 5.0
"""How long a fetch that was asked to end may take before its process is killed."""


async def fetch_on_node(
    node_id: str, fetch: NodeFetch, runtime_env: Mapping[str, Any], report: Report
) -> DownloadResult:
    """Return what a fetch left on the node; a cancelled one has ended there before the cancellation goes on.

    Raises:
        EventInitError: What the fetch raised there.
        NodeFetchError: The node is gone, or cannot run eventinit.
    """
    results: list[DownloadResult] = []

    def take(item: Any) -> None:
        if isinstance(item, DownloadResult):
            results.append(item)
        else:
            report(item)

    await _follow(node_id, pickle.dumps(fetch), runtime_env, take)
    return results[0]


async def warm_node(node_id: str, runtime_env: Mapping[str, Any]) -> None:
    """Start a worker process on the node and import there what a fetch needs; Ray uses it again.

    Raises:
        NodeFetchError: The node is gone, or cannot run eventinit.
    """
    await _follow(node_id, None, runtime_env, _nothing_comes)


def _nothing_comes(_item: Any) -> None:
    return


async def _follow(
    node_id: str, fetch: bytes | None, runtime_env: Mapping[str, Any], take: Callable[[Any], None]
) -> None:
    ray = load_ray()
    submit = partial(_submit, node_id, fetch, dict(runtime_env))
    stream = await run_in_thread(submit, name="submit of a fetch", undo=_kill)
    try:
        async for item in stream:
            take(await item)
    except ray.exceptions.RayError as error:
        raise _translated(error, node_id) from error
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_child_task(partial(_end, stream))
        raise


def _submit(node_id: str, fetch: bytes | None, runtime_env: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def fetch_model(pickled: bytes | None) -> Generator[Any]:
        # Defined here and given plain values, so that a node without eventinit says so in an ImportError.
        from eventinit.backends.ray_task import stream_fetch

        if pickled is not None:
            yield from stream_fetch(pickled)

    options = {"num_cpus": 0, "max_retries": 0, "num_returns": "streaming", "runtime_env": runtime_env or None}
    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    try:
        task: Any = load_ray().remote(**options)(fetch_model)
        return task.options(scheduling_strategy=where, name="eventinit.fetch").remote(fetch)
    except (TypeError, ValueError) as error:
        raise NodeFetchError(node_id, f"no task can be sent there: {error}; correct runtime_env") from error


async def _end(stream: Any) -> None:
    """Ask the fetch to end, which leaves nothing running on the node; kill its process if it does not."""
    await run_in_thread(partial(load_ray().cancel, stream), name="end of a fetch")
    with anyio.move_on_after(_GRACE_S) as grace:
        await _ended(stream)
    if grace.cancelled_caught:
        await run_in_thread(partial(_kill, stream), name="end of a fetch")


async def _ended(stream: Any) -> None:
    with suppress(load_ray().exceptions.RayError):
        await stream.completed()


def _kill(stream: Any) -> None:
    load_ray().cancel(stream, force=True)


def _translated(error: Any, node_id: str) -> EventInitError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, EventInitError):
        return cause
    if isinstance(cause, ImportError) and (cause.name or "").partition(".")[0] in {"anyio", "eventinit"}:
        remedy = 'install it on every node, or add it to runtime_env, such as {"pip": ["eventinit"]}'
        return NodeFetchError(node_id, f"eventinit is not installed there ({cause}); {remedy}")
    reason = f"{type(cause or error).__name__}: {cause or error}"
    return NodeFetchError(
        node_id, f"the model could not be fetched there: {reason}; `ray list nodes` shows which are alive"
    )
