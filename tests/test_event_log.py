import json
from pathlib import Path

import pytest

from eventinit import EventBus, EventInitError, LLMConfig, initialize_node
from eventinit.errors import ConfigError, ConstructorError
from eventinit.events import Event, PhaseFailed, PostShutdown, PreInitialization, from_json, to_json
from eventinit.handlers import EventLog
from eventinit.testing import FakeEngineBackend, Fakes, FakeSource


class Noted(Event):
    """An event of a user's own."""

    number: int
    text: str = ""


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def config_with_log(path: Path) -> LLMConfig:
    handlers = [{"path": "eventinit.handlers.EventLog", "kwargs": {"path": str(path)}}]
    return LLMConfig.model_validate({"model_id": "m", "handlers": handlers})


class Emitted:
    """Keeps every event of a bus as it is emitted, in a handler, which nothing can drop or delay."""

    def __init__(self, bus: EventBus) -> None:
        self.events: list[Event] = []
        bus.on(Event, self.events.append)

    def as_json(self) -> list[str]:
        return [to_json(event) for event in self.events]


@pytest.mark.asyncio
async def test_every_event_of_a_start_is_read_back_as_it_was_emitted(tmp_path: Path) -> None:
    bus, path = EventBus(), tmp_path / "events.jsonl"
    emitted = Emitted(bus)
    bus.attach(EventLog(path))
    fakes = Fakes(FakeSource(seconds=0.05))
    async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=fakes.backends()):
        pass
    assert isinstance(emitted.events[0], PreInitialization)
    assert isinstance(emitted.events[-1], PostShutdown)
    read_back = [from_json(line) for line in lines_of(path)]
    assert [type(event) for event in read_back] == [type(event) for event in emitted.events]
    assert [to_json(event) for event in read_back] == emitted.as_json()
    assert lines_of(path) == emitted.as_json()


@pytest.mark.asyncio
async def test_a_start_that_fails_is_logged_to_its_end(tmp_path: Path) -> None:
    bus, path = EventBus(), tmp_path / "events.jsonl"
    emitted = Emitted(bus)
    bus.attach(EventLog(path))
    fakes = Fakes(engine=FakeEngineBackend(fails_with=RuntimeError("no memory left")))
    with pytest.raises(RuntimeError, match="no memory left"):
        async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=fakes.backends()):
            pass
    failures = [event for event in map(from_json, lines_of(path)) if isinstance(event, PhaseFailed)]
    assert [event.failed_phase for event in failures] == ["engine_init", "initialization"]
    assert "no memory left" in failures[0].message
    assert lines_of(path) == emitted.as_json()


@pytest.mark.asyncio
async def test_a_log_that_a_configuration_names_holds_the_whole_start(tmp_path: Path) -> None:
    bus, path = EventBus(), tmp_path / "events.jsonl"
    emitted = Emitted(bus)
    async with initialize_node(config_with_log(path), bus=bus, backends=Fakes().backends()):
        pass
    assert lines_of(path) == emitted.as_json()


@pytest.mark.asyncio
async def test_a_log_that_a_configuration_names_begins_with_the_start(tmp_path: Path) -> None:
    """The first event is there whatever becomes of the later ones; see the test above."""
    path = tmp_path / "events.jsonl"
    async with initialize_node(config_with_log(path), backends=Fakes(FakeSource(seconds=0.05)).backends()):
        pass
    assert isinstance(from_json(lines_of(path)[0]), PreInitialization)


@pytest.mark.asyncio
async def test_events_are_appended_to_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in (1, 2):
        async with EventBus() as bus:
            bus.attach(EventLog(path))
            await bus.emit(Noted(number=number))
    assert [from_json(line) for line in lines_of(path)] == [Noted(number=1), Noted(number=2)]


@pytest.mark.asyncio
async def test_an_event_is_one_line_whatever_its_text(tmp_path: Path) -> None:
    path, event = (
        tmp_path / "events.jsonl",
        Noted(number=1, text='two\nlines, "quoted", ünïcode \u2028 and \U0001f600'),
    )
    async with EventBus() as bus:
        bus.attach(EventLog(path))
        await bus.emit(event)
    (line,) = lines_of(path)
    assert json.loads(line)["data"]["number"] == 1
    assert from_json(line) == event


def test_a_line_is_there_before_the_bus_closes(tmp_path: Path) -> None:
    """Whoever follows the file sees an event as soon as the log has taken it."""
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write(Noted(number=7))
    assert from_json(lines_of(path)[0]) == Noted(number=7)


def test_a_log_that_is_rotated_away_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write(Noted(number=1))
    path.rename(tmp_path / "events.1.jsonl")
    log.write(Noted(number=2))
    assert [from_json(line) for line in lines_of(path)] == [Noted(number=2)]


def test_making_a_log_makes_no_file(tmp_path: Path) -> None:
    """So that checking a configuration leaves nothing behind."""
    EventLog(tmp_path / "events.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_log_stays_where_it_was_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    log = EventLog("events.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.write(Noted(number=1))
    assert (tmp_path / "events.jsonl").exists()


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    EventLog("~/events.jsonl").write(Noted(number=1))
    assert (tmp_path / "events.jsonl").exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*/missing; make it"):
        EventLog(tmp_path / "missing" / "events.jsonl")


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name a file in it"):
        EventLog(tmp_path)


@pytest.mark.asyncio
async def test_a_configuration_with_a_bad_path_ends_the_start_before_it_begins(tmp_path: Path) -> None:
    fakes = Fakes()
    with pytest.raises(ConstructorError, match=r"EventLog.*there is no folder .*/missing") as caught:
        async with initialize_node(config_with_log(tmp_path / "missing" / "x.jsonl"), backends=fakes.backends()):
            pass
    assert isinstance(caught.value, EventInitError)
    assert fakes.source.fetched == []
