"""What of a start travels to another node for the subscribers there: the configuration and a copy of the context."""

import logging
import pickle
from collections.abc import Sequence
from typing import Any, cast

from eventinit.attachment import Attachment
from eventinit.config import LLMConfig
from eventinit.context import NodeInitializationContext, last_events, read_only, set_by_system
from eventinit.dotted_path import dotted_path_of
from eventinit.errors import ConfigError, DottedPathError
from eventinit.events import PostNodeDownload, PreNodeDownload
from eventinit.handler import HandlerSubscription
from eventinit.logs import log_event

ON_NODES = ("each node gets a read-only copy for its download", "change it in PreDownload or before")
_REMEDY = (
    "have it in a module that is installed on every node, or that runtime_env brings there (working_dir, py_modules)"
)


def handling_on_nodes(config: LLMConfig, attached: Sequence[Attachment]) -> LLMConfig | None:
    """Return the configuration with only those subscribers that handle what happens on a node; None without any.

    Args:
        config: What names them.
        attached: The attachment of each: of the callback class, if there is one, and then of every handler.
    """
    needed = [any(map(_is_for_nodes, attachment.subscriptions)) for attachment in attached]
    callback = config.callback_class if config.callback_class is not None and needed.pop(0) else None
    handlers = tuple(entry for entry, is_needed in zip(config.handlers, needed, strict=True) if is_needed)
    if callback is None and not handlers:
        return None
    return config.model_copy(update={"callback_class": callback, "handlers": handlers})


def _is_for_nodes(subscription: object) -> bool:
    kinds = (PreNodeDownload, PostNodeDownload)
    return isinstance(subscription, HandlerSubscription) and any(
        issubclass(kind, subscription.event_type) for kind in kinds
    )


def pack(subscribers: LLMConfig, context: NodeInitializationContext) -> bytes:
    """Return both as bytes. What of the context cannot be pickled stays behind, with a warning that names it.

    Raises:
        DottedPathError: A class of the configuration cannot be found under its name on another node.
        ConfigError: The configuration cannot be pickled.
    """
    _refuse_homebound(subscribers.callback_class)
    configs = [_by_name(subscribers), _by_name(context.llm_config)]
    values = {name: _portable(name, getattr(context, name)) for name in last_events() if name != "llm_config"}
    try:
        return pickle.dumps((*configs, values))
    except Exception as error:
        problem = f"cannot be sent to the nodes where its handlers run: {error}; give only what can be pickled"
        raise ConfigError("the configuration", [problem]) from error


def unpack(packed: bytes, node_id: str) -> tuple[LLMConfig, NodeInitializationContext]:
    """Return the configuration of the subscribers, and the context, which is read-only.

    Raises:
        ConfigError: A class that a value belongs to cannot be imported here.
    """
    try:
        content = pickle.loads(packed)  # noqa: S301 - it comes from the start
    except Exception as error:
        problem = f"holds what node {node_id} cannot import: {type(error).__name__}: {error}; {_REMEDY}"
        raise ConfigError("the context", [problem]) from error
    subscribers, config, values = cast("tuple[LLMConfig, LLMConfig, dict[str, Any]]", content)
    context = NodeInitializationContext(config)
    for name, value in values.items():
        set_by_system(context, name, value)
    return subscribers, read_only(context, ON_NODES)


def not_on_node(error: DottedPathError, node_id: str) -> DottedPathError:
    """Return the error of a path that leads nowhere on another node, with the remedy."""
    return DottedPathError(error.dotted_path, f"on node {node_id}: {'; '.join(error.problems)}; {_REMEDY}")


def _refuse_homebound(callback: type[Any] | str | None) -> None:
    if not isinstance(callback, type):
        return
    path = dotted_path_of(callback)
    if callback.__module__ == "__main__" or "<locals>" in path:
        raise DottedPathError(path, f"has a hook for every node, and other nodes cannot import it; {_REMEDY}")


def _by_name(config: LLMConfig) -> LLMConfig:
    callback = config.callback_class
    return (
        config.model_copy(update={"callback_class": dotted_path_of(callback)}) if isinstance(callback, type) else config
    )


def _portable(path: str, value: Any) -> Any:
    """Return a value of the context, or of its dicts, without what cannot be pickled."""
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value).items()
        return {key: item for key, item in entries if _can_travel(f"{path}.{key}", item)}
    return value if _can_travel(path, value) else None


def _can_travel(path: str, value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - pickling runs whatever the value's class defines
        log_event(logging.WARNING, "left_behind_by_node_download", error, field=path)
        return False
    return True
