"""The callback class and the handlers that a configuration names, put onto a bus."""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, cast

from eventinit.attachment import Attachment
from eventinit.bus import EventBus
from eventinit.config import HandlerConfig, LLMConfig
from eventinit.dotted_path import import_dotted
from eventinit.errors import ConstructorError, DottedPathError
from eventinit.event import Event
from eventinit.frozen import thaw
from eventinit.hooks import hooks_of
from eventinit.logs import log_event
from eventinit.marks import marks_of

_instances: list[tuple[type[Any], Mapping[str, Any], object]] = []
_instances_lock = Lock()


@dataclass(frozen=True, slots=True)
class ConfiguredSubscribers:
    """What a configuration subscribes: the instance of its callback class, if any, and its handlers in order."""

    callback: object | None
    handlers: tuple[object, ...]
    raise_error_on_callback: bool

    def attach(self, bus: EventBus, where: Callable[[Event], bool] | None = None) -> Iterator[Attachment]:
        """Subscribe everything on a bus, the callback first; ``where`` says which events count."""
        if self.callback is not None:
            yield self._attach_callback(self.callback, bus, where)
        for handler in self.handlers:
            yield bus.attach(handler, where=where)

    def _attach_callback(self, callback: object, bus: EventBus, where: Callable[[Event], bool] | None) -> Attachment:
        hooks = hooks_of(callback)
        if not hooks.handlers:
            log_event(logging.WARNING, "callback_has_no_hooks", callback=type(callback).__qualname__)
        on_error: Literal["raise", "log"] = "raise" if self.raise_error_on_callback else "log"
        subscriptions = [
            bus.on(hook.event_type, hook.call, name=hook.name, on_error=on_error, where=where)
            for hook in hooks.handlers
        ]
        return Attachment(subscriptions, hooks.end)


def load_subscribers(config: LLMConfig) -> ConfiguredSubscribers:
    """Import and build the callback and the handlers that a configuration names.

    Raises:
        DottedPathError: A path leads nowhere, or to something that cannot be subscribed.
        ConstructorError: A class refuses its arguments.
    """
    callback = None if config.callback_class is None else _callback(config.callback_class, config.callback_kwargs)
    handlers = tuple(_handler(entry) for entry in config.handlers)
    return ConfiguredSubscribers(callback, handlers, config.raise_error_on_callback)


def _callback(named: type[Any] | str, kwargs: Mapping[str, Any]) -> object:
    cls = import_dotted(named) if isinstance(named, str) else named
    if not isinstance(cls, type):
        raise DottedPathError(str(named), f"names a {type(cls).__name__}, not a class; name the callback class itself")
    with _instances_lock:
        for known, known_kwargs, instance in _instances:
            # By their text as well: 1 == True, and they are not the same arguments.
            if known is cls and known_kwargs == kwargs and repr(known_kwargs) == repr(kwargs):
                return instance
        instance = _build(cls, kwargs, "callback_kwargs")
        _instances.append((cls, kwargs, instance))
        return instance


def _handler(entry: HandlerConfig) -> object:
    named = import_dotted(entry.path)
    if isinstance(named, type):
        return _build(named, entry.kwargs, f"the kwargs of {entry.path!r} in handlers")
    if not inspect.isroutine(named):
        raise DottedPathError(entry.path, f"names a {type(named).__name__}; name a class or a function")
    if not marks_of(named):
        raise DottedPathError(entry.path, "names a function without a mark; put @handles(SomeEvent) above it")
    if entry.kwargs:
        raise DottedPathError(entry.path, "names a function, which takes no kwargs; name a class to use them")
    return cast("object", named)


def _build(cls: type[Any], kwargs: Mapping[str, Any], where: str) -> object:
    try:
        return cls(**cast("dict[str, Any]", thaw(kwargs)))
    except Exception as error:
        raise ConstructorError(cls.__qualname__, kwargs, error, where) from error
