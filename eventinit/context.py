"""The context that the handlers of one start share."""

# The context, its fields and the functions by which a start keeps it are one unit, in this file for that reason.
# pyright: reportPrivateUsage=false

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, final, overload

from eventinit.author import Author, current_author
from eventinit.change import Change, Override
from eventinit.config import LLMConfig
from eventinit.errors import ContextSealedError, ContextValueError, UnknownFieldError
from eventinit.frozen import thaw
from eventinit.journal import Journal, detach, owned
from eventinit.ports import DOWNLOAD_MODES, DownloadMode, DownloadResult
from eventinit.writers import LastWriters

T = TypeVar("T")

_BY_SYSTEM = ("it is set by the system", "handlers only read it")


class _Field(Generic[T]):
    """A field of the context: checks what is assigned, refuses it when sealed, records it else.

    ``last_event`` is the last one in which a handler can set it; None means that no handler can.
    """

    def __init__(self, expected: str, accept: Callable[[Any], bool], last_event: str | None) -> None:
        self.expected = expected
        self.accept = accept
        self.last_event = last_event

    def __set_name__(self, _owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, context: None, _owner: type[object]) -> Self: ...
    @overload
    def __get__(self, context: "NodeInitializationContext", _owner: type[object]) -> T: ...
    def __get__(self, context: "NodeInitializationContext | None", _owner: type[object]) -> Self | T:
        return self if context is None else cast("T", context._values[self.name])

    def __set__(self, context: "NodeInitializationContext", value: T) -> None:
        if self.last_event is None:
            raise ContextSealedError(self.name, *_BY_SYSTEM)
        context._journal.guard(self.name)
        if not self.accept(value):
            raise ContextValueError(self.name, value, self.expected)
        _replace(context, self.name, value)


def _replace(context: "NodeInitializationContext", name: str, value: Any) -> None:
    old = context._values[name]
    if value is old:
        return
    new = context._values[name] = owned(context._journal, (name,), value)
    context._journal.record_difference((name,), old, new)
    detach(old)


def _mode(last_event: str) -> _Field[DownloadMode]:
    return _Field(" or ".join(DOWNLOAD_MODES), lambda value: value in DOWNLOAD_MODES, last_event)


def _is_plain_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in cast("dict[Any, Any]", value))


def _mapping(last_event: str) -> _Field[dict[str, Any]]:
    return _Field("a dict with string keys", _is_plain_dict, last_event)


def _anything(_value: Any) -> bool:
    return True


@final
class NodeInitializationContext:
    """The one mutable value that handlers share during one start.

    A field can be set until the phase that needs it has used it; afterwards a write raises ``ContextSealedError``.
    What is assigned is checked (``ContextValueError``), and every change is recorded with its author. Dicts and other
    containers are copied all the way down when they are assigned; what else they hold is not.

    Attributes:
        llm_config: The configuration of the start; it cannot be changed.
        local_node_download_model: What this node fetches; until ``PreDownload``.
        worker_node_download_model: What the nodes of the group fetch; until ``PostPlacementGroup``.
        download_result: Where the model's files are, once they are there.
        placement_group: The group for the engine's workers; until ``PrePlacementGroup`` a handler can supply one.
        runtime_env: Ray's runtime environment for processes on the cluster; until ``PreEngineInit``.
        extra_init_kwargs: Engine arguments on top of the configuration's; until ``PreEngineInit``.
        custom_data: Your own state.
    """

    __slots__ = ("_journal", "_values")

    _values: dict[str, Any]
    _journal: Journal

    llm_config: _Field[LLMConfig] = _Field("an LLMConfig", _anything, None)
    local_node_download_model: _Field[DownloadMode] = _mode("PreDownload")
    worker_node_download_model: _Field[DownloadMode] = _mode("PostPlacementGroup")
    download_result: _Field[DownloadResult | None] = _Field("a DownloadResult", _anything, None)
    placement_group: _Field[Any] = _Field("a placement group", _anything, "PrePlacementGroup")
    runtime_env: _Field[dict[str, Any]] = _mapping("PreEngineInit")
    extra_init_kwargs: _Field[dict[str, Any]] = _mapping("PreEngineInit")
    custom_data: _Field[dict[str, Any]] = _mapping("any event")

    def __init__(self, llm_config: LLMConfig) -> None:
        values: dict[str, Any] = {
            "llm_config": llm_config,
            "local_node_download_model": llm_config.local_node_download_model,
            "worker_node_download_model": llm_config.worker_node_download_model,
            "download_result": None,
            "placement_group": None,
            "runtime_env": thaw(llm_config.runtime_env),
            "extra_init_kwargs": {},
            "custom_data": {},
        }
        self._fill(values, Journal())

    # Hidden from type checkers, which find a misspelt field by themselves.
    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if not hasattr(NodeInitializationContext, name):
                raise UnknownFieldError(name, self._values)
            super().__setattr__(name, value)

    def _fill(self, values: Mapping[str, Any], journal: Journal) -> None:
        self._journal = journal
        self._values = {name: owned(journal, (name,), value) for name, value in values.items()}

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change so far, oldest first."""
        return tuple(self._journal.changes)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """Every change so far that took the place of another handler's, oldest first."""
        return tuple(self._journal.writers.overrides)

    def changed_by(self, path: str) -> tuple[Change, ...]:
        """Return the changes of a field or of a key in it, such as ``extra_init_kwargs.max_model_len``, oldest first.

        The last one is the one that counts. A path covers everything below it.
        """
        return tuple(change for change in self.changes if f"{change.path}.".startswith(f"{path}."))

    def __repr__(self) -> str:
        return f"<NodeInitializationContext of {self.llm_config.model_id!r}, {len(self.changes)} changes>"


def last_events() -> dict[str, str | None]:
    """Return for each field the last event in which a handler can set it, or None when none can."""
    fields = vars(NodeInitializationContext).items()
    return {name: field.last_event for name, field in fields if isinstance(field, _Field)}


def seal(context: NodeInitializationContext, *names: str, phase: str) -> None:
    """Fix fields of a context because a phase is about to use them; later writes are refused."""
    for name in names:
        last_event = getattr(NodeInitializationContext, name).last_event
        remedy = f"set it in {last_event} or before"
        context._journal.sealed.setdefault(name, (f"the {phase} phase has used it", remedy))


def set_by_system(context: NodeInitializationContext, name: str, value: object) -> None:
    """Set a field in the name of the start itself, sealed or not."""
    token = current_author.set(Author("eventinit", "the start", competes=False))
    _replace(context, name, value)
    current_author.reset(token)


_FOR_OBSERVERS = ("observers get a read-only copy", "use a handler (bus.on) to change the context")


def read_only(context: NodeInitializationContext, why: tuple[str, str] = _FOR_OBSERVERS) -> NodeInitializationContext:
    """Return a copy of a context as it is now, which cannot be changed; ``why`` is the reason, and what to do."""
    copy = NodeInitializationContext.__new__(NodeInitializationContext)
    original = context._journal
    sealed: dict[str, tuple[str, str]] = dict.fromkeys(context._values, why)
    journal = Journal(list(original.changes), sealed, LastWriters(original.writers.overrides))
    copy._fill(context._values, journal)
    return copy
