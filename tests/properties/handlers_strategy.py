"""Random handlers, and what they do while an event is under way."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st

from eventinit import Event, LLMConfig, NodeInitializationContext, VetoableEvent
from eventinit.events import LifecycleEvent, PreDownload

HANG_LIMIT_S = 0.002
"""The timeout of a handler that never ends."""
LIMIT_S = 60.0
"""A timeout that no handler reaches."""

Kind = Literal["async", "plain", "awaitable", "thread"]
Answer = Literal["none", "true", "false", "veto", "nonsense", "failure", "hang"]


class Told(Event):
    """An event that cannot be vetoed; ``label`` tells one emit from another."""

    label: str = ""
    n: int = 0


class Question(VetoableEvent):
    """An event that can be vetoed."""

    label: str = ""
    n: int = 0


class LoudQuestion(Question):
    """An event whose base can be vetoed as well."""


class ToldQuestion(Told, Question):
    """An event with two lines of bases, only one of which can be vetoed."""


class LabelledDownload(PreDownload, Question):
    """An event of a start, for which the bus records durations and changes."""


Labelled = Told | Question
EMITTED: tuple[type[Labelled], ...] = (Told, Question, LoudQuestion, ToldQuestion, LabelledDownload)
SUBSCRIBED: tuple[type[Event], ...] = (Event, VetoableEvent, LifecycleEvent, PreDownload, *EMITTED)


def make(event_type: type[Labelled], label: str, n: int) -> Labelled:
    """Return an event, with a context of its own if it takes one."""
    if issubclass(event_type, LabelledDownload):
        return event_type(label=label, n=n, context=NodeInitializationContext(LLMConfig(model_id="tiny")))
    return event_type(label=label, n=n)


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler to be subscribed.

    Attributes:
        pauses: How often it gives way to other tasks before what it does, and after.
        parity: Its ``where``: it takes the events whose ``n`` is even (0) or odd (1), or all.
        deeds: What it does to the bus when it is called.
    """

    event_type: type[Event]
    priority: int = 0
    kind: Kind = "async"
    pauses: int = 0
    answer: Answer = "none"
    on_error: Literal["raise", "log"] = "raise"
    once: bool = False
    parity: int | None = None
    timeout: float | None = None
    deeds: tuple["Deed", ...] = ()


@dataclass(frozen=True, slots=True)
class Emit:
    """Emit an event and wait for its outcome."""

    event_type: type[Labelled]
    n: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe another handler."""

    handler: Handler


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel one of the subscriptions made so far, counted round; without an index the handler's own."""

    index: int | None
    in_a_thread: bool = False


Deed = Emit | Subscribe | Cancel

PARITIES = st.sampled_from([None, None, None, 0, 1])
RARELY = st.integers(0, 5).map(lambda number: number == 0)
EMITS = st.builds(Emit, st.sampled_from(EMITTED), st.integers(0, 3))
CANCELS = st.builds(Cancel, st.none() | st.integers(0, 15), RARELY)


def handlers(
    *,
    kinds: Sequence[Kind] = ("async", "async", "plain", "awaitable"),
    once: bool = True,
    timeouts: bool = False,
    deeds: st.SearchStrategy[Deed] | None = None,
) -> st.SearchStrategy[Handler]:
    """Draw a handler, which does up to two ``deeds`` when it is called."""
    answers: list[Answer] = ["none", "none", "true", "false", "veto", "nonsense", "failure"]
    return st.builds(
        Handler,
        event_type=st.sampled_from(SUBSCRIBED),
        priority=st.integers(-1, 1),
        kind=st.sampled_from(kinds),
        pauses=st.integers(0, 3),
        answer=st.sampled_from([*answers, "hang"] if timeouts else answers),
        on_error=st.sampled_from(["raise", "log"]),
        once=RARELY if once else st.just(value=False),
        parity=PARITIES,
        timeout=st.sampled_from([None, LIMIT_S]) if timeouts else st.none(),
        deeds=st.just(()) if deeds is None else st.lists(deeds, max_size=2).map(tuple),
    ).map(_possible)


def _possible(handler: Handler) -> Handler:
    """Take from a handler what its kind cannot do: a plain function awaits nothing and cannot be timed out."""
    if handler.answer == "hang":
        return replace(handler, kind="async", timeout=HANG_LIMIT_S, deeds=())
    emits_nothing = tuple(deed for deed in handler.deeds if not isinstance(deed, Emit))
    return replace(
        handler,
        timeout=handler.timeout if handler.kind in {"async", "thread"} else None,
        deeds=handler.deeds if handler.kind in {"async", "awaitable"} else emits_nothing,
    )


DEEDS: st.SearchStrategy[Deed] = st.one_of(CANCELS, EMITS, st.builds(Subscribe, handlers()))
