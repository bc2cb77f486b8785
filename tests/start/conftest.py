import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eventinit import Event, EventBus, LLMConfig
from eventinit.events import DownloadProgress, NodeDownloadEvent, StartEvent
from eventinit.testing import Fakes


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def config() -> LLMConfig:
    return LLMConfig(model_id="tiny")


@pytest.fixture
def names(bus: EventBus) -> list[str]:
    """The events of the bus as they are emitted, without those of single nodes; failures are named with their phase."""
    seen: list[str] = []

    def note(event: StartEvent) -> None:
        if not isinstance(event, (DownloadProgress, NodeDownloadEvent)):
            failed = getattr(event, "failed_phase", None)
            seen.append(f"{type(event).__name__}:{failed}" if failed else type(event).__name__)

    bus.on(StartEvent, note, priority=1000)
    return seen


@pytest.fixture
def fail_on(bus: EventBus) -> Callable[[type[Event]], None]:
    """Make a handler of an event raise."""

    def subscribe(event_type: type[Event]) -> None:
        def failing(event: Event) -> None:
            raise RuntimeError(f"no {type(event).__name__} today")

        bus.on(event_type, failing)

    return subscribe


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Callable[[], set[str]]:
    """What was logged that tells of a failure, or of a thread that was given up."""

    def found() -> set[str]:
        records = caplog.get_records("call")
        return {
            record.getMessage()
            for record in records
            if record.levelno >= logging.ERROR or "thread_abandoned" in record.getMessage()
        }

    return found


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that nobody else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path
