"""Every error that eventinit raises.

EventInitError
├── ConfigError (ValueError)                       a configuration that cannot be used
│   ├── DottedPathError (ImportError)              a dotted path that leads nowhere
│   ├── ConstructorError (TypeError)               a callback or handler class that refuses its arguments
│   └── FrozenConfigError (TypeError)              a change to a configuration, which is fixed once it is made
├── HookNameError (AttributeError)                 a callback method that is almost a hook
├── SubscriptionError (TypeError)                  something that cannot be subscribed as asked
├── VetoError (TypeError)                          a handler's return value that is no veto, or a veto out of place
├── HandlerError (RuntimeError)                    a handler that raised
├── BusError (RuntimeError)                        a bus used in a way it does not allow
├── EventTimeoutError (TimeoutError)               an event that somebody waited for and that did not come in time
├── LifecycleError (RuntimeError)                  a start or stop out of turn
├── PhaseTimeoutError (TimeoutError)               a phase that took longer than it may
├── UnexpectedError (RuntimeError)                 an error of somebody else's, which is its cause
├── ContextError
│   ├── ContextSealedError (AttributeError)        a field written after its value was used
│   ├── ContextValueError (TypeError, ValueError)  a field written with a value it cannot hold
│   ├── UnknownFieldError (AttributeError)         a field that the context does not have
│   └── DetachedContextError (AttributeError)      the context of an event that was rebuilt from JSON
├── DownloadError (OSError)
│   ├── ModelNotFoundError (FileNotFoundError)     no such folder, bucket, prefix or repository
│   ├── AccessDeniedError (PermissionError)        the store knows the model and refuses it
│   ├── StoreUnavailableError (ConnectionError)    the store does not answer
│   │   └── StoreSilentError (TimeoutError)        it answered nothing, or no further byte, for too long
│   ├── StalledError (TimeoutError)                no byte came for too long
│   ├── ModelPathError                             nodes that keep the model under different paths
│   ├── ObjectChangedError                         the store has another content than when it was listed
│   ├── IntegrityError (ValueError)                a file that came out other than the store has it
│   ├── DiskFullError                              the model does not fit on the disk
│   └── UnsafeKeyError (ValueError)                a key that would leave the model's folder
├── PlacementError (RuntimeError)                  Ray could not be reached or refused the group
│   ├── InfeasibleGroupError (ValueError)          a group that the cluster can never hold
│   ├── GroupTooSmallError (ValueError)            a group with fewer bundles than the engine has workers
│   ├── NodeLostError                              a node of the group that went away while the engine started
│   └── NodeFetchError                             a node that is gone, or cannot fetch the model
├── EngineError (RuntimeError)                     the engine did not start
│   ├── EngineArgumentError (ValueError)           an argument that vLLM does not know or refuses
│   └── EngineDiedError                            the engine ended by itself after it had started
└── MissingExtraError (ImportError)                a backend that is not installed

Messages are built from data, and the data stay on the error as attributes. Every error can be pickled, so it survives
the way from a Ray task to the caller.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from eventinit.suggestion import did_you_mean

_NAMED = 3
_NOTED = 10
"""A thousand nodes may have the same trouble: messages name a few, tracebacks note some; attributes keep all."""


class EventInitError(Exception):
    """Raised when eventinit cannot do what was asked; the root of all its errors.

    Attributes:
        also: Errors that happened beside this one and were not raised themselves.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.also: tuple[BaseException, ...] = ()

    def attach(self, others: Iterable[BaseException]) -> Self:
        """Keep errors that happened beside this one, and name the first ten in notes of the traceback."""
        beside = tuple(others)
        self.also = (*self.also, *beside)
        for other in beside[:_NOTED]:
            self.add_note(f"also: {type(other).__name__}: {other}")
        if len(beside) > _NOTED:
            self.add_note(f"also: {len(beside) - _NOTED} more, which its attribute `also` has")
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[EventInitError], args: tuple[Any, ...], state: dict[str, Any]) -> EventInitError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return _list(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


class ConfigError(EventInitError, ValueError):
    """Raised when a configuration cannot be used.

    Attributes:
        subject: What is wrong: a file, a section, a path.
        problems: One sentence for each thing to mend.
    """

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(f"{subject}: " + "; ".join(problems))


class DottedPathError(ConfigError, ImportError):
    """Raised when a dotted path such as ``my_module.MyCallback``, its ``dotted_path``, leads to nothing usable."""

    def __init__(self, path: str, problem: str) -> None:
        self.dotted_path = path
        super().__init__(repr(path), [problem])


class ConstructorError(ConfigError, TypeError):
    """Raised when a class that the configuration names refuses the arguments given for it, or raises on them.

    Attributes:
        class_name: The class.
        arguments: The names of the arguments.
    """

    def __init__(self, class_name: str, arguments: Iterable[str], cause: BaseException, where: str) -> None:
        self.class_name = class_name
        self.arguments = tuple(arguments)
        given = f"the arguments {_list(self.arguments)}" if self.arguments else "no arguments"
        problem = f"its constructor failed with {given}: {type(cause).__name__}: {cause}; mend {where}"
        super().__init__(class_name, [problem])


class FrozenConfigError(ConfigError, TypeError):
    """Raised when a configuration is changed, which is fixed once it is made."""

    def __init__(self, what: str) -> None:
        super().__init__(what, ["cannot be changed; make another configuration, or change the context of the start"])


class HookNameError(EventInitError, AttributeError):
    """Raised when a method of a callback looks like a hook and is none.

    Attributes:
        owner: The class of the callback.
        method: The method.
        nearest: The hook that was probably meant, or None.
    """

    def __init__(self, owner: str, method: str, nearest: str | None, hooks: Iterable[str]) -> None:
        self.owner = owner
        self.method = method
        self.nearest = nearest
        remedy = f"did you mean {nearest!r}?" if nearest else f"the hooks are {_list(hooks)}"
        super().__init__(f"{owner} has a method {method!r}, which is no hook and would never be called; {remedy}")


class SubscriptionError(EventInitError, TypeError):
    """Raised when something cannot be subscribed, before anything is emitted."""


class VetoError(EventInitError, TypeError):
    """Raised when a handler returns something that is neither None nor a veto, or vetoes what cannot be vetoed.

    Attributes:
        handler: The handler's name.
        event: The name of the event's class.
        value: What it returned.
    """

    def __init__(self, handler: str, event: str, value: object, problem: str) -> None:
        self.handler = handler
        self.event = event
        self.value = value
        super().__init__(f"{handler} returned {value!r} for {event}{problem}")


class HandlerError(EventInitError, RuntimeError):
    """Raised when a handler failed; ``__cause__`` is what it raised, ``also`` holds the failures of other handlers.

    Attributes:
        handler: The handler's name.
        event: The name of the event's class.
        phase: The phase the event belongs to, or None.
        node_id: The cluster's id of the node on which it ran, or None for the one of the service.
    """

    def __init__(
        self, handler: str, event: str, phase: str | None, cause: BaseException, node_id: str | None = None
    ) -> None:
        self.handler = handler
        self.event = event
        self.phase = phase
        self.node_id = node_id
        where = f"{event} (phase {phase})" if phase else event
        where += f" on node {node_id}" if node_id else ""
        super().__init__(f"{handler} failed on {where}: {type(cause).__name__}: {cause}")
        self.__cause__ = cause


class BusError(EventInitError, RuntimeError):
    """Raised when a bus is used in a way that it does not allow."""


class EventTimeoutError(EventInitError, TimeoutError):
    """Raised when an event that somebody waited for did not come in time.

    Attributes:
        event: The name of the event's class.
        timeout_s: How long it was waited for, in seconds.
    """

    def __init__(self, event: str, timeout_s: float) -> None:
        self.event = event
        self.timeout_s = timeout_s
        super().__init__(f"no {event} came within {timeout_s:g} s; wait longer, or begin to wait before it is emitted")


class LifecycleError(EventInitError, RuntimeError):
    """Raised when a node is started twice, or used when it is not running."""


class UnexpectedError(EventInitError, RuntimeError):
    """Raised in place of an error that is not eventinit's own, which is its ``__cause__``."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"an unexpected {type(cause).__name__}: {cause}; its traceback tells where it came from")


class PhaseTimeoutError(EventInitError, TimeoutError):
    """Raised when a phase took longer than its timeout.

    Attributes:
        phase: The phase.
        timeout_s: Its limit in seconds.
        setting: The field of the configuration that sets the limit.
        last_known: What it was last doing, or None when that is not known.
    """

    def __init__(self, phase: str, timeout_s: float, setting: str, last_known: str | None = None) -> None:
        self.phase = phase
        self.timeout_s = timeout_s
        self.setting = setting
        self.last_known = last_known
        state = f"; last known: {last_known}" if last_known else ""
        super().__init__(f"the {phase} phase took longer than {timeout_s:g} s{state}; raise {setting} to wait longer")


class ContextError(EventInitError):
    """Raised when the context is used in a way that it does not allow."""


class ContextSealedError(ContextError, AttributeError):
    """Raised when a field of the context is written after its value was used, so that the write would be lost.

    Attributes:
        field: The field.
        sealed_by: What has used it.
    """

    def __init__(self, field: str, sealed_by: str, remedy: str) -> None:
        self.field = field
        self.sealed_by = sealed_by
        super().__init__(f"context.{field} can no longer be changed: {sealed_by}; {remedy}")


class ContextValueError(ContextError, TypeError, ValueError):
    """Raised when a field of the context is given a value that it cannot hold.

    Attributes:
        field: The field.
        expected: What it takes.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.expected = expected
        # Only text is shown: the values inside a list or dict may be secrets.
        shown = f"{value!r:.80}" if isinstance(value, str) else f"a {type(value).__name__}"
        super().__init__(f"context.{field} takes {expected}, not {shown}")


class UnknownFieldError(ContextError, AttributeError):
    """Raised when a ``field`` is written that the context does not have."""

    def __init__(self, field: str, fields: Iterable[str]) -> None:
        self.field = field
        super().__init__(f"the context has no field {field!r}; {did_you_mean(field, fields)}")


class DetachedContextError(ContextError, AttributeError):
    """Raised when the context of an event is asked for that was rebuilt from JSON, which leaves the context out."""


class DownloadError(EventInitError, OSError):
    """Raised when a model's files could not be fetched.

    Attributes:
        source: Where they were to come from.
        problem: What went wrong, and what to do.
    """

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        self.problem = problem
        super().__init__(f"{source}: {problem}")


class ModelNotFoundError(DownloadError, FileNotFoundError):
    """Raised when the folder, bucket, prefix or repository does not exist or holds no files."""


class AccessDeniedError(DownloadError, PermissionError):
    """Raised when the store refuses access to the model."""


class StoreUnavailableError(DownloadError, ConnectionError):
    """Raised when the store cannot be reached or answers with errors of its own.

    Attributes:
        retry_after_s: How long the store asks to be left alone.
    """

    def __init__(self, source: str, problem: str, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(source, problem)


class StoreSilentError(StoreUnavailableError, TimeoutError):
    """Raised when a store took a request and then sent nothing, or no further byte, for ``silent_s`` seconds."""

    def __init__(self, source: str, problem: str, silent_s: float) -> None:
        self.silent_s = silent_s
        super().__init__(source, problem)


class StalledError(DownloadError, TimeoutError):
    """Raised when no byte came for too long, however often and wherever it was asked for."""

    def __init__(self, source: str, file: str, silent_s: float, mirrors: Sequence[str]) -> None:
        self.file = file
        self.silent_s = silent_s
        self.mirrors = tuple(mirrors)
        super().__init__(
            source,
            f"{file} stalled: no byte came for {round(silent_s, 1):g} s from {_list(mirrors)};"
            " check the network and the store, or raise download.stall_timeout_s",
        )


class ModelPathError(DownloadError):
    """Raised when another node keeps the model under another path than this one.

    Attributes:
        path: The model's folder on this node, which the engine's workers are given on every node.
        elsewhere: Its folder on each node where it is another one.
    """

    def __init__(self, source: str, path: Path, elsewhere: Mapping[str, Path]) -> None:
        self.path = path
        self.elsewhere = dict(elsewhere)
        others = _some([f"{there} on node {node_id}" for node_id, there in self.elsewhere.items()])
        super().__init__(
            source,
            f"the model is at {path} on this node and at {others}, but the engine's workers look for it at one path;"
            " set EVENTINIT_CACHE (for models of the Hub HF_HOME) to the same path on every node",
        )


class ObjectChangedError(DownloadError):
    """Raised when the store has another content of a file than when it was listed."""

    def __init__(self, source: str, file: str) -> None:
        self.file = file
        super().__init__(source, f"{file} was replaced in the store while it was being fetched; fetch again")


class IntegrityError(DownloadError, ValueError):
    """Raised when a file came out other than the store has it, twice."""

    def __init__(self, source: str, file: str, expected: str, actual: str) -> None:
        self.file = file
        self.expected = expected
        self.actual = actual
        super().__init__(
            source,
            f"{file} is damaged: expected {expected}, got {actual}; check the object in the store, then fetch again",
        )


class DiskFullError(DownloadError):
    """Raised when the files of a model do not fit on the disk; ``setting`` is the variable that names the disk."""

    def __init__(
        self, source: str, folder: str, needed_bytes: int, free_bytes: int, setting: str = "EVENTINIT_CACHE"
    ) -> None:
        self.folder = folder
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.setting = setting
        command = "eventinit cache prune" if setting == "EVENTINIT_CACHE" else "hf cache rm"
        super().__init__(
            source,
            f"{needed_bytes / 1e9:.2f} GB are to be fetched and {folder} has {free_bytes / 1e9:.2f} GB free;"
            f" free some space ({command}), or set {setting} to a larger disk",
        )


class UnsafeKeyError(DownloadError, ValueError):
    """Raised when an object's key would be written outside the model's folder."""


class PlacementError(EventInitError, RuntimeError):
    """Raised when Ray cannot be reached, or a placement group cannot be made or used."""


class InfeasibleGroupError(PlacementError, ValueError):
    """Raised when the nodes of the cluster can never hold the placement group.

    Attributes:
        bundles: What it asks for.
        strategy: How its bundles are to be spread over nodes.
    """

    def __init__(self, bundles: Sequence[dict[str, float]], strategy: str, problem: str) -> None:
        self.bundles = tuple(bundles)
        self.strategy = strategy
        what = f"{len(bundles)} bundle(s) [{_some([*map(str, bundles)])}], {strategy}"
        super().__init__(
            f"the placement group of {what}, can never fit: {problem};"
            " ask for less in placement_group_config, or add nodes"
        )


class GroupTooSmallError(PlacementError, ValueError):
    """Raised when a placement group has fewer ``bundles`` that can hold a worker than the engine has ``workers``.

    A bundle without an accelerator holds none where others have one.
    """

    def __init__(self, bundles: int, workers: int) -> None:
        self.bundles = bundles
        self.workers = workers
        super().__init__(
            f"the placement group has {bundles} bundle(s) for workers, the engine needs {workers}"
            " (its parallel sizes multiplied); supply a group with one bundle for each worker,"
            " each with an accelerator where any has one"
        )


class NodeLostError(PlacementError):
    """Raised when bundles of the placement group lose their node while the engine starts in them.

    Attributes:
        lost: The node of each such bundle by the bundle's index; None where it had none any more.
    """

    def __init__(self, lost: Mapping[int, str | None]) -> None:
        self.lost = dict(lost)
        where = _some([f"bundle {index} (node {node_id or 'unknown'})" for index, node_id in self.lost.items()])
        super().__init__(
            f"the placement group has lost {where} while the engine started in it;"
            " `ray list nodes` shows which nodes are alive: start the node again"
        )


class NodeFetchError(PlacementError):
    """Raised when a node of the cluster, ``node_id``, is gone or cannot fetch the model."""

    def __init__(self, node_id: str, problem: str) -> None:
        self.node_id = node_id
        super().__init__(f"node {node_id}: {problem}")


class EngineError(EventInitError, RuntimeError):
    """Raised when the engine could not be started."""


class EngineArgumentError(EngineError, ValueError):
    """Raised when vLLM does not know an engine argument, or refuses its value."""


class EngineDiedError(EngineError):
    """Raised to whoever uses a node whose engine has ended by itself."""


class MissingExtraError(EventInitError, ImportError):
    """Raised when a backend is used that is not installed.

    Attributes:
        package: The package that is missing.
        extra: The extra of eventinit that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed; run: pip install 'eventinit[{extra}]'")
