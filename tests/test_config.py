"""The configuration: what it refuses and in which words, its defaults, and its ways in and out of files."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from eventinit import EventInitError, HandlerConfig, LLMConfig, PlacementGroupConfig
from eventinit.errors import ConfigError


class Callback:
    """A callback class that a configuration can name."""

    def on_pre_download(self, ctx: Any) -> None:
        return


HERE = f"{__name__}.Callback"
NOTHING: dict[str, Any] = {}


def config_with(**values: Any) -> LLMConfig:
    """Make a configuration of values that a type checker would refuse."""
    given: dict[str, Any] = {"model_id": "m", **values}
    return LLMConfig(**given)


def refusal(**values: Any) -> str:
    """Return the message with which a configuration refuses values."""
    with pytest.raises(ConfigError) as caught:
        config_with(**values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("misspelt", "right"),
    [
        ("model_sauce", "model_source"),
        ("callback_clas", "callback_class"),
        ("engine_kwarg", "engine_kwargs"),
        ("handler", "handlers"),
        ("download_timeout", "download_timeout_s"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(misspelt: str, right: str) -> None:
    message = refusal(**{misspelt: "x"})
    assert repr(misspelt) in message
    assert repr(right) in message


def test_a_key_of_any_name_can_be_unknown() -> None:
    assert "'self'" in refusal(self=1)


def test_an_unknown_key_inside_a_section_is_refused_with_the_nearest_right_one() -> None:
    message = refusal(placement_group_config={"bundle": [{"CPU": 1}]})
    assert "placement_group_config" in message
    assert "'bundle'" in message
    assert "'bundles'" in message


def test_an_unknown_key_in_an_entry_of_handlers_is_refused_with_the_nearest_right_one() -> None:
    message = refusal(handlers=["a.b", {"path": "c.d", "kwarg": {}}])
    assert "handlers.1" in message
    assert "'kwarg'" in message
    assert "'kwargs'" in message


def test_every_wrong_key_and_value_is_named_at_once() -> None:
    message = refusal(modle_source="x", download_timeout_s=-1, local_node_download_model="ALL")
    for part in ("modle_source", "download_timeout_s", "local_node_download_model", "MODEL_AND_TOKENIZER"):
        assert part in message


def test_a_missing_model_id_is_named_and_nothing_else_is() -> None:
    with pytest.raises(ConfigError, match="model_id") as caught:
        LLMConfig(**NOTHING)
    assert len(caught.value.problems) == 1


UNUSABLE: list[dict[str, Any]] = [
    {"model_id": ""},
    {"engine_timeout_s": 0},
    {"placement_group_config": {"bundles": []}},
    {"placement_group_config": {"bundles": [{}]}},
    {"placement_group_config": {"bundles": [{"CPU": -1}]}},
    {"placement_group_config": {"bundles": [{"CPU": 1}], "bundle_per_worker": {"CPU": 1}}},
    {"placement_group_config": {"strategy": "PAKC"}},
    {"engine_kwargs": ["a"]},
    {"engine_kwargs": {"model": "elsewhere"}},
    {"handlers": [{"kwargs": {}}]},
    {"callback_class": 7},
    {"runtime_env": "pip"},
]


@pytest.mark.parametrize("values", UNUSABLE, ids=str)
def test_a_value_that_cannot_be_used_is_a_config_error_that_names_its_key(values: dict[str, Any]) -> None:
    message = refusal(**values)
    assert next(iter(values)) in message


def test_a_config_error_is_a_value_error_and_one_of_ours() -> None:
    with pytest.raises(ValueError, match="model_id") as caught:
        LLMConfig(**NOTHING)
    assert isinstance(caught.value, EventInitError)


def test_the_defaults_are_those_of_the_documentation() -> None:
    config = LLMConfig(model_id="org/name")
    assert config.model_source == "org/name"
    assert config.callback_class is None
    assert config.callback_kwargs == {}
    assert config.raise_error_on_callback is True
    assert config.handlers == ()
    assert config.placement_group_config == PlacementGroupConfig(strategy="PACK")
    assert config.local_node_download_model == "MODEL_AND_TOKENIZER"
    assert config.worker_node_download_model == "MODEL_AND_TOKENIZER"
    assert config.ray_address is None


def test_a_model_source_may_be_a_path(tmp_path: Path) -> None:
    assert config_with(model_source=tmp_path).model_source == str(tmp_path)


@pytest.mark.parametrize("named", [Callback, HERE, HERE.replace(".Callback", ":Callback")], ids=str)
def test_a_callback_class_is_a_class_or_a_dotted_path(named: Any) -> None:
    assert config_with(callback_class=named).callback_class == named


def test_an_entry_of_handlers_may_be_just_a_path() -> None:
    assert config_with(handlers=["a.b", {"path": "c:d", "kwargs": {"n": 1}}]).handlers == (
        HandlerConfig(path="a.b"),
        HandlerConfig(path="c:d", kwargs={"n": 1}),
    )


def everything() -> LLMConfig:
    """Return a configuration with something at every level."""
    return config_with(
        callback_class=HERE,
        callback_kwargs={"nested": {"list": [1, {"deep": True}]}},
        handlers=[{"path": "a.b", "kwargs": {"x": {"y": 1}}}],
        engine_kwargs={"dtype": "float32"},
        placement_group_config={"bundles": [{"CPU": 1.5}], "strategy": "SPREAD"},
        runtime_env={"env_vars": {"A": "1"}},
        download_timeout_s=5,
    )


def assign_a_field(config: Any) -> None:
    config.model_id = "other"


def assign_an_unknown_field(config: Any) -> None:
    config.modelid = "other"


def assign_in_a_section(config: Any) -> None:
    config.placement_group_config.strategy = "PACK"


def set_a_key(config: Any) -> None:
    config.engine_kwargs["dtype"] = "auto"


def set_a_nested_key(config: Any) -> None:
    config.callback_kwargs["nested"]["list"][1]["deep"] = False


def delete_a_key(config: Any) -> None:
    del config.runtime_env["env_vars"]["A"]


def update_a_bundle(config: Any) -> None:
    config.placement_group_config.bundles[0].update(CPU=9)


def merge_into_a_mapping(config: Any) -> None:
    mapping = config.engine_kwargs
    mapping |= {"dtype": "auto"}


def set_a_key_of_a_handler(config: Any) -> None:
    config.handlers[0].kwargs["x"]["y"] = 2


def delete_a_field(config: Any) -> None:
    del config.model_id


@pytest.mark.parametrize(
    "change",
    [
        assign_a_field,
        assign_an_unknown_field,
        assign_in_a_section,
        set_a_key,
        set_a_nested_key,
        delete_a_key,
        update_a_bundle,
        merge_into_a_mapping,
        set_a_key_of_a_handler,
        delete_a_field,
    ],
)
def test_nothing_of_a_configuration_can_be_changed(change: Any) -> None:
    config = everything()
    with pytest.raises(ConfigError, match="cannot be changed"):
        change(config)
    assert config == everything()


@pytest.mark.parametrize("name", ["callback_kwargs", "engine_kwargs", "runtime_env"])
def test_lists_and_sets_of_a_configuration_cannot_be_changed_either(name: str) -> None:
    config = config_with(**{name: {"list": [1, [2]], "set": {1}}})
    values = getattr(config, name)
    assert not hasattr(values["list"], "append")
    assert not hasattr(values["list"][1], "append")
    assert not hasattr(values["set"], "add")


def test_a_configuration_does_not_change_with_what_it_was_made_of() -> None:
    kwargs: dict[str, Any] = {"nested": {"list": [1]}}
    config = config_with(engine_kwargs=kwargs)
    kwargs["nested"]["list"].append(2)
    kwargs["new"] = 1
    assert config.engine_kwargs == {"nested": {"list": (1,)}}


def test_a_configuration_survives_json() -> None:
    config = everything()
    assert LLMConfig(**json.loads(config.model_dump_json())) == config
    assert LLMConfig.model_validate_json(config.model_dump_json()) == config


def test_a_callback_class_goes_into_json_as_its_dotted_path() -> None:
    dumped = json.loads(config_with(callback_class=Callback).model_dump_json())
    assert dumped["callback_class"].replace(":", ".") == HERE


def test_wrong_json_is_a_config_error_too() -> None:
    with pytest.raises(ConfigError, match=r"LLMConfig: unknown key 'modelid'.*'model_id'"):
        LLMConfig.model_validate_json('{"model_id": "m", "modelid": "x"}')
    with pytest.raises(ConfigError, match="JSON"):
        LLMConfig.model_validate_json('{"model_id')


def test_a_wrong_mapping_is_a_config_error_too() -> None:
    with pytest.raises(ConfigError, match="modelid") as caught:
        LLMConfig.model_validate({"model_id": "m", "modelid": "x", "engine_timeout_s": 0})
    assert len(caught.value.problems) == 2


def test_a_configuration_survives_pickling_and_copying() -> None:
    config = everything()
    copies: list[Any] = [pickle.loads(pickle.dumps(config)), copy.deepcopy(config)]
    for again in copies:
        assert again == config
        with pytest.raises(ConfigError):
            again.engine_kwargs["dtype"] = "auto"


def test_a_config_error_survives_pickling() -> None:
    with pytest.raises(ConfigError) as caught:
        config_with(modelid="x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.subject, again.problems) == (
        str(caught.value),
        caught.value.subject,
        caught.value.problems,
    )
