"""Ray's control store, asked with a time limit.

Most of Ray's functions have none. Without the store they hang, and a process that has waited for it for
``gcs_rpc_server_reconnect_timeout_s`` (60 s) is ended by Ray, even where it has left Ray meanwhile. So they are called
only while the store answers.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import anyio

from eventinit.backends.ray_session import load_ray
from eventinit.errors import PlacementError
from eventinit.logs import log_event

T = TypeVar("T")

SILENCE_S: Final = 12.0
"""How long the store may be silent, as while it restarts, before what waits for it fails."""
ANSWER_S: Final = 3
PAUSE_S: Final = 0.5


async def ask(question: Callable[[Any], T]) -> T:
    """Return what a question to Ray's client of the control store returns; ask again while the store is silent.

    Args:
        question: Blocks for ``ANSWER_S`` at most; called in a thread.

    Raises:
        PlacementError: The store was silent for ``SILENCE_S``.
    """
    ray = load_ray()
    last: list[Exception] = []
    with anyio.move_on_after(SILENCE_S):
        while True:
            try:
                return await anyio.to_thread.run_sync(partial(question, _client()), abandon_on_cancel=True)
            except ray.exceptions.RayError as error:
                last[:] = [error]
            await anyio.sleep(PAUSE_S)
    raise PlacementError(
        f"Ray's control store at {ray.get_runtime_context().gcs_address} has not answered for {SILENCE_S:g} s;"
        " see whether the head of the cluster is alive, then start the node again"
    ) from next(iter(last), None)


async def wait_until_it_answers() -> None:
    """Return when the control store answers.

    Raises:
        PlacementError: It was silent for ``SILENCE_S``.
    """
    await ask(_knock)


def answers() -> bool:
    """Return whether the control store answers within ``ANSWER_S``; blocks that long at most."""
    try:
        _knock(_client())
    except load_ray().exceptions.RayError as error:
        log_event(logging.WARNING, "ray_does_not_answer", error)
        return False
    return True


def _client() -> Any:
    # Public Ray has no question with a time limit.
    return load_ray()._private.worker.global_worker.gcs_client


def _knock(client: Any) -> None:
    client.internal_kv_exists(b"session_name", None, timeout=ANSWER_S)
