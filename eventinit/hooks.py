"""The ``on_…`` hooks of a callback object, as handlers of the events that they are named after."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import Lock
from anyio.lowlevel import RunVar

from eventinit.errors import HookNameError
from eventinit.event import Event, subclasses
from eventinit.subscription import is_async
from eventinit.suggestion import nearest
from eventinit.threads import run_blocking

_locks: RunVar[dict[int, Lock]] = RunVar("eventinit_hook_locks")
_ALMOST_A_HOOK = ("on_pre_", "on_post_")


@dataclass(frozen=True, slots=True)
class HookHandler:
    """One hook of an object as a handler: which event it takes and what to call."""

    event_type: type[Event]
    name: str
    call: Callable[[Event], Awaitable[Any]]


def known_hooks() -> dict[str, type[Event]]:
    """Return the event of each hook that an imported event class names."""
    return {kind.hook: kind for kind in subclasses(Event) if kind.hook}


def hook_handlers(instance: object) -> Iterator[HookHandler]:
    """Yield a handler for each hook that an object defines.

    A plain method runs in a worker thread, since a callback is arbitrary code and the event loop must stay responsive.
    Only one hook of an object runs at a time.

    Raises:
        HookNameError: A method is named like a hook and is none.
    """
    hooks = known_hooks()
    methods = [name for name in dir(type(instance)) if name.startswith("on_")]
    for name in methods:
        _refuse_misspelt(instance, name, hooks)
    for name, event_type in hooks.items():
        if name in methods:
            label = f"{type(instance).__qualname__}.{name}"
            yield HookHandler(event_type, label, _handler(instance, getattr(instance, name), label))


def _refuse_misspelt(instance: object, name: str, hooks: dict[str, type[Event]]) -> None:
    if name in hooks:
        return
    close = nearest(name, hooks, cutoff=0.8)
    if close or name.startswith(_ALMOST_A_HOOK):
        raise HookNameError(type(instance).__qualname__, name, close, hooks)


def _handler(instance: object, method: Callable[[Any], Any], label: str) -> Callable[[Event], Awaitable[Any]]:
    runs_on_loop = is_async(method)

    async def call(event: Event) -> Any:
        async with _lock_of(instance):
            argument = event.hook_argument()
            if runs_on_loop:
                return await method(argument)
            return await run_blocking(partial(method, argument), name=label)

    return call


def _lock_of(instance: object) -> Lock:
    """Return the lock of an object on this event loop; an object may be attached to several buses."""
    locks = _locks.get(dict[int, Lock]())
    _locks.set(locks)
    return locks.setdefault(id(instance), Lock())
