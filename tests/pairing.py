"""Whether the events of a start come in pairs."""

from collections.abc import Sequence

from eventinit.events import LifecycleEvent, PhaseFailed, PostEvent, StartEvent

PHASES = ("initialization", "download", "placement_group", "engine_init", "shutdown")


def assert_paired(fired: Sequence[StartEvent]) -> None:
    """Say that one event ends each phase that began, and that the initialization ends after all but the shutdown."""
    record = [f"{type(event).__name__}:{_ended(event) or event.phase}" for event in fired]
    for phase in PHASES:
        begun = [index for index, event in enumerate(fired) if _begun(event) == phase]
        ended = [index for index, event in enumerate(fired) if _ended(event) == phase]
        assert len(begun) == len(ended) <= 1, (phase, record)
        assert begun <= ended, (phase, record)
        if phase == "initialization" and ended:
            assert {_ended(event) for event in fired[ended[0] + 1 :]} <= {None, "shutdown"}, record


def _begun(event: StartEvent) -> str | None:
    begins = isinstance(event, LifecycleEvent) and type(event).__name__.startswith("Pre")
    return event.phase if begins else None


def _ended(event: StartEvent) -> str | None:
    if isinstance(event, PhaseFailed):
        return event.failed_phase
    return event.phase if isinstance(event, PostEvent) else None
