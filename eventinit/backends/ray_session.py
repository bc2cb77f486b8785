"""The one Ray that a process can use, shared and counted by all node starts of the process.

Every function here blocks and is called from worker threads. A Ray that this module started or adopted is stopped with
its last user; one that the process had before is never touched.
"""

import logging
import os
import shutil
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, final

from eventinit.backends.engine_folder import OWNER_FILE
from eventinit.backends.process_environment import process_environment, restore_variable
from eventinit.own_thread import OwnThread
from eventinit.owner import SHARED, this_owner

_SET_BY_RAY: Final = ("PYTHONBREAKPOINT", "RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED")
"""What ``ray.init`` changes in the process's environment for good, so that children meet the same Ray."""

Environment = Mapping[str, str | None]


def load_ray() -> Any:
    """Return the ``ray`` module; the first call takes a second."""
    import ray

    return ray


def is_running() -> bool:
    """Return whether this process uses a Ray, without importing it."""
    return "ray" in sys.modules and bool(load_ray().is_initialized())


def environment_now() -> Environment:
    """Return the variables that a Ray started from now on may change, as they are."""
    return {name: os.environ.get(name) for name in _SET_BY_RAY}


def restore_environment(before: Environment) -> None:
    """Put the variables back, and have Ray's core read them again and forget its token, once no Ray runs here.

    It would otherwise go on to ask for the token of the Ray that has ended, and refuse what the workers of a cluster
    without one send: a fetch there would never end.
    """
    for name, value in before.items():
        restore_variable(name, value)
    if "ray" in sys.modules:
        core = import_module("ray._raylet")
        core.Config.initialize("")
        core.AuthenticationTokenLoader.instance().reset_cache()


@final
@dataclass(slots=True, eq=False)
class RayShare:
    """A Ray that ends with its last user.

    Attributes:
        embedded: Whether its processes belong to this one.
        address: The address that it was connected to, None for an embedded one.
        keeper: The thread that has started it, which must live as long; None for one that was adopted.
        users: How many starts use it.
    """

    embedded: bool
    address: str | None
    before: Environment
    keeper: OwnThread | None
    users: int = 1

    def stop(self) -> None:
        """End it and put the environment back as it was before it."""
        folder = _session_folder() if self.embedded else None
        if self.keeper is None:
            _shut_down()
        else:
            self.keeper.submit(_shut_down).result()
            self.keeper.end()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        restore_environment(self.before)


_lock = threading.RLock()
_current: RayShare | None = None

met_none: Final[set[object]] = set()
"""The starts under way that met no Ray when they began, so that one which nobody counts may be theirs."""


def take(address: str | None, before: Environment, given_up: threading.Event, *, adopt: bool) -> RayShare | None:
    """Return a share of the Ray that runs here, of the one at ``address``, or else of a new embedded one.

    None means that the process had a Ray before, which is nobody's to stop.

    Args:
        address: What to connect to when no Ray runs here.
        before: The environment from before the start that asks.
        given_up: Set by whoever no longer waits for the answer.
        adopt: Whether a Ray that nobody counts was started after that start began, and so ends with it.

    Raises:
        Exception: Whatever ``ray.init`` raises; nothing of it is left then.
    """
    global _current  # noqa: PLW0603 - a process has one Ray
    with _lock:
        if not is_running():
            _current = _begin(address, before, given_up)
            _sign()
        elif _current is not None:
            _current.users += 1
        elif adopt:
            _current = RayShare(embedded=True, address=None, before=before, keeper=None)
            _sign()
        return _current


def _begin(address: str | None, before: Environment, given_up: threading.Event) -> RayShare:
    keeper = OwnThread("eventinit-ray")
    try:
        keeper.submit(partial(_start, address, given_up)).result()
    except BaseException:
        keeper.end()
        raise
    return RayShare(embedded=address is None, address=address, before=before, keeper=keeper)


def give_back(share: RayShare) -> None:
    """End one user's share, and the Ray with the last."""
    global _current  # noqa: PLW0603 - a process has one Ray
    with _lock:
        share.users -= 1
        if share.users or _current is not share:
            return
        _current = None
        share.stop()


def end_uncounted(starter: object, before: Environment) -> None:
    """Stop a Ray that nobody counts: a hook of a start that then came to nothing has started it.

    Where another start is under way that met no Ray either, the Ray may be that one's, and is left to it.

    Args:
        starter: The start that ends; it has met no Ray and taken no share.
        before: The environment from before that start.
    """
    with _lock:
        met_none.discard(starter)
        if is_running() and _current is None and not met_none:
            RayShare(embedded=True, address=None, before=before, keeper=None).stop()


def _start(address: str | None, given_up: threading.Event) -> None:
    ray = load_ray()
    target = {"address": address} if address else _embedded_options()
    with process_environment({}, given_up=given_up), _quiet(), _signals_left_alone(ray):
        try:
            ray.init(**target, configure_logging=False, log_to_driver=False)
        except BaseException:
            ray.shutdown()
            raise


def _embedded_options() -> dict[str, Any]:
    """Return the arguments of an embedded Ray, fresh ones each time since Ray writes into them.

    Ray would start a worker process for each CPU and hold the interpreter lock until all have booted: a lag of the
    event loop of half a second, and of four on a busy machine. A start seldom needs any, and they come when needed.
    """
    settings = {"prestart_worker_first_driver": False}
    return {"address": "local", "include_dashboard": False, "_system_config": settings}


def _session_folder() -> Path | None:
    """Return the folder of this process's own Ray with its logs and sockets, which Ray leaves behind.

    None where the process has only joined a Ray, whose folder is not ours.
    """
    # Public Ray does not tell it.
    node = load_ray()._private.worker._global_node
    return None if node is None or not node.is_head() else Path(node.get_session_dir_path())


def _sign() -> None:
    """Write into the folder of our own Ray whose it is, since a kill of this process leaves it behind."""
    folder = _session_folder()
    with suppress(OSError):
        if folder is not None:
            (folder / OWNER_FILE).write_text(str(this_owner(SHARED)))


def _shut_down() -> None:
    with process_environment({}):
        load_ray().shutdown(wait_for_processes=True)


@contextmanager
def _signals_left_alone(ray: Any) -> Generator[None]:
    """Keep Ray's core from taking over SIGTERM beneath Python's handlers, which would abort the program.

    The constant is private; its public form is an environment variable that counts only before Ray is first imported.
    """
    constants = ray._private.ray_constants
    before = constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER
    constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
    try:
        yield
    finally:
        constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = before


@contextmanager
def _quiet() -> Generator[None]:
    """Keep Ray from telling that it may not set signal handlers and how to turn its authentication off."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
