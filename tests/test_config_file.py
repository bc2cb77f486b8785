"""A configuration from a YAML file, with overrides from the environment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eventinit import HandlerConfig, LLMConfig
from eventinit.errors import ConfigError

WriteYaml = Callable[[str], Path]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("EVENTINIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write_yaml(tmp_path: Path) -> WriteYaml:
    """Give a function that writes a configuration file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "node.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_yaml_file_becomes_a_configuration(write_yaml: WriteYaml) -> None:
    path = write_yaml("model_id: m\nengine_kwargs: {max_model_len: 128}\nhandlers: [a.b]\n")
    config = LLMConfig.from_yaml(path)
    assert config == LLMConfig(
        model_id="m", engine_kwargs={"max_model_len": 128}, handlers=(HandlerConfig(path="a.b"),)
    )
    assert LLMConfig.from_yaml(str(path)) == config


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*no such file"):
        LLMConfig.from_yaml(tmp_path / "nowhere.yaml")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=tmp_path.name):
        LLMConfig.from_yaml(tmp_path)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("just text\n", "str"), ("", "NoneType")])
def test_a_file_that_is_no_mapping_is_refused_with_an_example(write_yaml: WriteYaml, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"node\.yaml.*{kind}.*mapping.*model_id"):
        LLMConfig.from_yaml(write_yaml(text))


@pytest.mark.parametrize(
    "text",
    [
        "model_id: [1,\n",
        "model_id: m\n\tengine_kwargs: {}\n",
        "model_id: !!python/object/apply:os.getcwd []\n",
        "model_id: *nowhere\n",
        "model_id: 2024-13-45\n",
        f"model_id: {'[' * 2000}\n",
    ],
)
def test_broken_yaml_is_a_config_error_that_names_the_file(write_yaml: WriteYaml, text: str) -> None:
    with pytest.raises(ConfigError, match=r"node\.yaml"):
        LLMConfig.from_yaml(write_yaml(text))


def test_a_file_that_is_no_text_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_bytes(b"model_id: \xff\xfe\n")
    with pytest.raises(ConfigError, match=r"node\.yaml"):
        LLMConfig.from_yaml(path)


def test_a_mapping_that_holds_itself_is_a_config_error(write_yaml: WriteYaml) -> None:
    with pytest.raises(ConfigError, match="engine_kwargs"):
        LLMConfig.from_yaml(write_yaml("model_id: m\nengine_kwargs: &all\n  inner: *all\n"))


def test_a_misspelt_key_of_a_file_is_refused_with_the_nearest_right_one(write_yaml: WriteYaml) -> None:
    with pytest.raises(ConfigError, match=r"modelid.*model_id"):
        LLMConfig.from_yaml(write_yaml("model_id: m\nmodelid: x\n"))


def test_variables_of_the_environment_override_the_file(write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTINIT_MODEL_SOURCE", "s3://bucket/model")
    monkeypatch.setenv("EVENTINIT_ENGINE_KWARGS", '{"dtype": "float32", "max_model_len": 64}')
    monkeypatch.setenv("EVENTINIT_RAISE_ERROR_ON_CALLBACK", "false")
    monkeypatch.setenv("EVENTINIT_DOWNLOAD_TIMEOUT_S", "2.5")
    monkeypatch.setenv("EVENTINIT_PLACEMENT_TIMEOUT_S", "null")
    monkeypatch.setenv("EVENTINIT_RAY_ADDRESS", '"auto"')
    config = LLMConfig.from_yaml(write_yaml("model_id: m\nmodel_source: elsewhere\n"))
    assert config.model_source == "s3://bucket/model"
    assert config.engine_kwargs == {"dtype": "float32", "max_model_len": 64}
    assert config.raise_error_on_callback is False
    assert config.download_timeout_s == 2.5
    assert config.placement_timeout_s is None
    assert config.ray_address == "auto"


def test_a_variable_can_bring_what_the_file_leaves_out(write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTINIT_MODEL_ID", "from-environment")
    assert LLMConfig.from_yaml(write_yaml("engine_kwargs: {}\n")).model_id == "from-environment"


@pytest.mark.parametrize("text", ["123", "1e3", "true", "[1]", "null and void"])
def test_a_field_of_text_gets_the_text_of_its_variable(
    write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The name of a model may look like a number, and cannot be one."""
    for variable in ("EVENTINIT_MODEL_ID", "EVENTINIT_RAY_ADDRESS", "EVENTINIT_CALLBACK_CLASS"):
        monkeypatch.setenv(variable, text)
    config = LLMConfig.from_yaml(write_yaml("{}\n"))
    assert [config.model_id, config.ray_address, config.callback_class] == [text] * 3


def test_a_variable_can_take_back_what_the_file_sets(write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTINIT_RAY_ADDRESS", "null")
    assert LLMConfig.from_yaml(write_yaml("model_id: m\nray_address: auto\n")).ray_address is None


def test_a_misspelt_variable_is_refused_with_the_nearest_right_one(
    write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTINIT_MODEL_SORCE", "x")
    with pytest.raises(ConfigError, match=r"EVENTINIT_MODEL_SORCE.*EVENTINIT_MODEL_SOURCE"):
        LLMConfig.from_yaml(write_yaml("model_id: m\n"))


def test_a_wrong_value_in_a_variable_is_a_config_error_that_names_the_variable(
    write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTINIT_DOWNLOAD_TIMEOUT_S", "soon")
    monkeypatch.setenv("EVENTINIT_MODEL_SOURCE", "elsewhere")
    with pytest.raises(ConfigError, match=r"environment variable EVENTINIT_DOWNLOAD_TIMEOUT_S: ") as caught:
        LLMConfig.from_yaml(write_yaml("model_id: m\n"))
    assert "node.yaml" in str(caught.value)
    assert "EVENTINIT_MODEL_SOURCE" not in str(caught.value)


def test_the_variable_for_the_cache_folder_is_no_field(
    write_yaml: WriteYaml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path))
    assert LLMConfig.from_yaml(write_yaml("model_id: m\n")) == LLMConfig(model_id="m")


def test_only_from_yaml_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTINIT_MODEL_SOURCE", "from-environment")
    monkeypatch.setenv("EVENTINIT_NO_SUCH_FIELD", "x")
    assert LLMConfig(model_id="m").model_source == "m"
    assert LLMConfig.model_validate({"model_id": "m"}).model_source == "m"
