"""How a configuration says where a model comes from and how it is fetched."""

from pathlib import Path
from typing import Any

import pytest

from eventinit import EventBus, LLMConfig, initialize_node
from eventinit.errors import ConfigError
from eventinit.events import DownloadProgress
from eventinit.ports import DownloadSettings
from eventinit.testing import Fakes, FakeSource


def test_a_model_comes_from_where_its_name_says_unless_told_otherwise() -> None:
    assert LLMConfig(model_id="m").sources == ("m",)
    assert LLMConfig(model_id="m", model_source=Path("/models/m")).sources == ("/models/m",)


def test_several_sources_are_mirrors_in_their_order() -> None:
    uris = ["s3://a/m", "https://b/m"]
    config = LLMConfig(model_id="m", model_source=uris)
    uris.clear()
    assert config.sources == ("s3://a/m", "https://b/m")


@pytest.mark.parametrize("source", [3, "", [], ["s3://a/m", 3], {"a": 1}], ids=str)
def test_what_cannot_be_a_source_is_refused(source: Any) -> None:
    with pytest.raises(ConfigError, match=r"'model_source': .*(takes a folder|is an empty list)"):
        LLMConfig(model_id="m", model_source=source)


def test_the_settings_of_a_file_reach_the_downloads(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("model_id: m\ndownload: {verify: full, max_bandwidth: 500e6, exclude: ['*.bin']}\n")
    settings = LLMConfig.from_yaml(path).download.settings()
    assert settings == DownloadSettings(verify="full", max_bandwidth=500e6, exclude=("*.bin",))


def test_the_defaults_are_those_of_the_downloads() -> None:
    assert LLMConfig(model_id="m").download.settings() == DownloadSettings()


@pytest.mark.parametrize(
    ("download", "problem"),
    [
        ({"verfy": "full"}, "did you mean 'verify'"),
        ({"verify": "all"}, "verify"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_bandwidth": 0}, "max_bandwidth"),
        ({"stall_timeout_s": -1}, "stall_timeout_s"),
        ({"distribution": "multicast"}, "distribution"),
        ({"distribution": "broadcast", "prefetch": "candidates"}, "leave one out"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(download: dict[str, Any], problem: str) -> None:
    values: Any = {"model_id": "m", "download": download}
    with pytest.raises(ConfigError, match=problem):
        LLMConfig(**values)


def test_a_variable_names_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("model_id: m\n")
    monkeypatch.setenv("EVENTINIT_MODEL_SOURCE", "s3://a/m")
    assert LLMConfig.from_yaml(path).sources == ("s3://a/m",)


@pytest.mark.anyio
async def test_progress_tells_how_long_the_rest_takes() -> None:
    bus, seen = EventBus(), list[DownloadProgress]()
    bus.on(DownloadProgress, seen.append)
    fakes = Fakes(FakeSource(files=8, seconds=0.8))
    async with initialize_node(LLMConfig(model_id="m"), bus=bus, backends=fakes.backends()):
        pass
    first, *between, last = seen
    assert (first.bytes_done, first.remaining_s) == (0, None)
    assert all(event.remaining_s is not None and event.remaining_s > 0 for event in between)
    assert last.remaining_s == 0
