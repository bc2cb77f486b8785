"""The ``on_…`` hooks of a callback object, as handlers of the events that they are named after."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, final

from anyio import Lock, get_cancelled_exc_class
from anyio.lowlevel import RunVar

from eventinit.errors import HookNameError
from eventinit.event import Event, subclasses
from eventinit.own_thread import OwnThread
from eventinit.subscription import check_callable, is_async
from eventinit.suggestion import nearest
from eventinit.threads import GRACE_S, run_in_thread

_locks: RunVar[dict[int, Lock]] = RunVar("eventinit_hook_locks")
_ALMOST_A_HOOK = ("on_pre_", "on_post_")


@dataclass(frozen=True, slots=True)
class HookHandler:
    """One hook of an object as a handler: which event it takes and what to call."""

    event_type: type[Event]
    name: str
    call: Callable[[Event], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of an object that is attached once; ``end`` is called when it is detached."""

    handlers: tuple[HookHandler, ...]
    end: Callable[[], None]


def known_hooks() -> dict[str, type[Event]]:
    """Return the event of each hook: the class that names it, not those that derive from that one."""
    return {kind.hook: kind for kind in subclasses(Event) if kind.hook and "hook" in vars(kind)}


def hooks_of(instance: object) -> Hooks:
    """Return a handler for each hook that an object defines.

    A plain method runs in a thread, since a callback is arbitrary code and the event loop must stay responsive; there,
    ``anyio.from_thread`` needs the loop's token. Only one hook of an object runs at a time on
    an event loop.

    Raises:
        HookNameError: A method is named like a hook and is none.
        SubscriptionError: A hook does not take the context.
    """
    hooks = known_hooks()
    methods = [name for name in dir(type(instance)) if name.startswith("on_")]
    for name in methods:
        _refuse_misspelt(instance, name, hooks)
    threads = _HookThreads(f"eventinit-hooks-{type(instance).__name__}")
    handlers: list[HookHandler] = []
    for name, event_type in hooks.items():
        if name in methods:
            check_callable(getattr(instance, name), "the context")
            label = f"{type(instance).__qualname__}.{name}"
            handlers.append(HookHandler(event_type, label, _handler(instance, getattr(instance, name), label, threads)))
    return Hooks(tuple(handlers), threads.end)


def _refuse_misspelt(instance: object, name: str, hooks: dict[str, type[Event]]) -> None:
    if name in hooks:
        return
    close = nearest(name, hooks, cutoff=0.8)
    if close or name.startswith(_ALMOST_A_HOOK):
        raise HookNameError(type(instance).__qualname__, name, close, hooks)


def _handler(
    instance: object, method: Callable[[Any], Any], label: str, threads: "_HookThreads"
) -> Callable[[Event], Awaitable[Any]]:
    runs_on_loop = is_async(method)

    async def call(owner: object, event: Event) -> Any:
        async with _lock_of(owner):
            argument = event.hook_argument()
            if runs_on_loop:
                return await method(argument)
            result = await threads.run(partial(method, argument), label)
            return await result if inspect.isawaitable(result) else result

    # A method of the object, as any bound method is, so that whoever calls it sees whose it is.
    return MethodType(call, instance)


def _lock_of(instance: object) -> Lock:
    """Return the lock of an object on this event loop; an object may be attached to several buses."""
    locks = _locks.get(dict[int, Lock]())
    _locks.set(locks)
    return locks.setdefault(id(instance), Lock())


@final
class _HookThreads:
    """The thread of an object's plain hooks, which lives until the object is detached.

    A hook may start Ray, even without knowing: Ray starts by itself when it is first used. It would end with a pooled
    thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._current: OwnThread | None = None
        self._begun: list[OwnThread] = []
        self._ended = False

    async def run(self, work: Callable[[], Any], label: str) -> Any:
        try:
            return await run_in_thread(work, name=label, patience_s=GRACE_S, thread=self._thread())
        except get_cancelled_exc_class():
            self._current = None  # the hook may still block it
            raise

    def _thread(self) -> OwnThread | None:
        """Return the thread, or None for a hook that comes to run when the object has just been detached."""
        if self._current is None and not self._ended:
            self._current = OwnThread(self._name)
            self._begun.append(self._current)
        return self._current

    def end(self) -> None:
        self._ended = True
        self._current = None
        for thread in self._begun:
            thread.end()
