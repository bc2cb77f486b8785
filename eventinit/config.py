"""The configuration of a node."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    field_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from eventinit.config_file import name_of_variable, read_config_file, read_variables
from eventinit.dotted_path import dotted_path_of
from eventinit.errors import ConfigError
from eventinit.frozen import FrozenDict, freeze
from eventinit.ports import ACCELERATOR_TYPE, ACCELERATORS, DownloadMode, DownloadSettings, Strategy
from eventinit.section import FrozenMapping, Section

FrozenBundle = Annotated[Mapping[str, PositiveFloat], Field(min_length=1), AfterValidator(freeze)]
Distribution = Literal["direct", "broadcast"]
Seconds = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


def _one_or_many(value: object) -> object:
    if isinstance(value, (list, tuple)):
        mirrors = tuple(map(_source, cast("list[object]", value)))
        if not mirrors:
            raise ValueError("is an empty list; name at least one place")
        return mirrors
    return _source(value)


def _source(value: object) -> str:
    if isinstance(value, (str, Path)) and str(value):
        return str(value)
    raise ValueError(f"takes a folder, a Hugging Face id or a URI, or a list of mirrors, not {value!r:.60}")


class PlacementGroupConfig(Section):
    """What to reserve on the cluster: the bundles themselves, or one kind of bundle for each worker.

    Attributes:
        bundles: All bundles of the group, such as ``[{"CPU": 1, "GPU": 1}]``.
        bundle_per_worker: One such bundle for each of the engine's workers.
        strategy: How Ray spreads the bundles over nodes.
        accelerator_type: The type of accelerator, such as ``A10G`` (``ray.util.accelerators`` has the names), for every
            bundle that asks for an accelerator; for one GPU per worker where no bundles are given.
    """

    bundles: Annotated[tuple[FrozenBundle, ...], Field(min_length=1)] | None = None
    bundle_per_worker: FrozenBundle | None = None
    strategy: Strategy = "PACK"
    accelerator_type: Text | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.bundles is not None and self.bundle_per_worker is not None:
            raise ValueError("takes bundles or bundle_per_worker, not both; leave one out")
        return self

    @model_validator(mode="after")
    def _type_is_of_accelerators(self) -> Self:
        given = (self.bundle_per_worker,) if self.bundle_per_worker is not None else self.bundles
        if self.accelerator_type is None or given is None:
            return self
        if any(name.startswith(ACCELERATOR_TYPE) for bundle in given for name in bundle):
            raise ValueError(f"has accelerator_type, and {ACCELERATOR_TYPE!r} in a bundle as well; leave one out")
        if all(ACCELERATORS.isdisjoint(bundle) for bundle in given):
            raise ValueError(
                f"has accelerator_type {self.accelerator_type!r} and no bundle with an accelerator;"
                f" add one of {', '.join(sorted(ACCELERATORS))} to a bundle, or leave accelerator_type out"
            )
        return self


class DownloadConfig(Section):
    """How files are fetched.

    Attributes:
        verify: ``size``: what is on disk already counts when its size and version are right; ``full``: when its
            checksum is right as well. What is fetched is checked against the store's checksum in any case.
        max_concurrency: How many requests there are at a time.
        max_bandwidth: How many bytes per second come at most, in all; None is no limit.
        stall_timeout_s: For how many seconds no byte may come before a request is tried again.
        attempts: How often a request is tried on each mirror.
        include: Globs of file names; if there are any, only what matches one is fetched.
        exclude: Globs of file names that are not fetched.
        prefetch: ``candidates``: nodes with room for a bundle of the placement group begin to fetch before it is
            placed, and those that it is not placed on stop.
        distribution: ``direct``: every node fetches from the store; ``broadcast``: one does, and the others receive the
            files from it and from each other, through Ray's object store.
    """

    verify: Literal["size", "full"] = "size"
    max_concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    max_bandwidth: Annotated[float, Field(gt=0)] | None = None
    stall_timeout_s: Seconds = 30.0
    attempts: Annotated[int, Field(ge=1)] = 5
    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()
    prefetch: Literal["none", "candidates"] = "none"
    distribution: Distribution = "direct"

    @model_validator(mode="after")
    def _one_reader_or_many(self) -> Self:
        if self.prefetch == "candidates" and self.distribution == "broadcast":
            raise ValueError("prefetch has many nodes read the store, which broadcast is there to avoid; leave one out")
        return self

    def settings(self) -> DownloadSettings:
        """Return what of it concerns the fetch of one node."""
        return DownloadSettings(**{field.name: getattr(self, field.name) for field in fields(DownloadSettings)})


class HandlerConfig(Section):
    """A subscriber that the configuration names.

    Attributes:
        path: Dotted path of a class with marked methods or hooks, or of a function marked with ``@handles``.
        kwargs: What the class is built with.
    """

    path: Text
    kwargs: FrozenMapping = FrozenDict()


def _class_or_path(value: object) -> object:
    if value is None or isinstance(value, (type, str)):
        return value
    raise ValueError(f"takes a class or its dotted path, not {value!r:.60}; an instance is built from callback_kwargs")


def _list_of_handlers(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return cast("object", value)
    raise ValueError("takes a list; write each entry as a dotted path, or as a mapping with path and kwargs")


def _path_to_handler(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class LLMConfig(Section):
    """Everything that a start needs to know; frozen all the way down.

    A configuration file is code: it names classes that are imported and run.

    Attributes:
        model_id: The name of the model; also where it comes from unless ``model_source`` says so.
        model_source: A local folder, a Hugging Face id (``org/name`` or ``org/name@revision``) or a URI (``s3://``,
            ``gs://``, ``az://``, ``abfss://``, ``https://``); a list of URIs names mirrors, the first of which is used
            for as long as it answers.
        callback_class: A class with ``on_…`` hooks, or its dotted path (``a.b.C`` or ``a.b:C``).
        callback_kwargs: What the callback class is built with, once per process.
        raise_error_on_callback: Whether a hook that raises fails the start; False logs it and goes on.
        handlers: Further subscribers by dotted path.
        engine_kwargs: Arguments for vLLM's AsyncEngineArgs; ``context.extra_init_kwargs`` goes on top.
        download: How files are fetched: verified, limited, retried.
        placement_group_config: What to reserve; by default a bundle per worker, with a GPU where there are some.
        runtime_env: Ray's runtime environment for processes on the cluster.
        ray_address: The cluster to connect to; by default ``RAY_ADDRESS``, else an embedded Ray.
        local_node_download_model: What this node fetches.
        worker_node_download_model: What the nodes of the placement group fetch.
        initialization_timeout_s: Limit of the whole start in seconds; None is no limit, here and below.
        download_timeout_s: Limit of the download phase.
        placement_timeout_s: Limit of the placement-group phase.
        engine_timeout_s: Limit of the engine's start.
        shutdown_timeout_s: How long the engine may take to stop before it is killed.

    Raises:
        ConfigError: A key or value is wrong; the message names every one with its remedy.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_id: Text
    model_source: Annotated[str | Path | Sequence[str], BeforeValidator(_one_or_many)] = Field(
        default_factory=lambda values: values.get("model_id", "-")
    )
    callback_class: Annotated[type[Any] | Text | None, BeforeValidator(_class_or_path)] = None
    callback_kwargs: FrozenMapping = FrozenDict()
    raise_error_on_callback: bool = True
    handlers: Annotated[
        tuple[Annotated[HandlerConfig, BeforeValidator(_path_to_handler)], ...], BeforeValidator(_list_of_handlers)
    ] = ()
    engine_kwargs: FrozenMapping = FrozenDict()
    download: DownloadConfig = DownloadConfig()
    placement_group_config: PlacementGroupConfig = PlacementGroupConfig()
    runtime_env: FrozenMapping = FrozenDict()
    ray_address: Text | None = None
    local_node_download_model: DownloadMode = "MODEL_AND_TOKENIZER"
    worker_node_download_model: DownloadMode = "MODEL_AND_TOKENIZER"
    initialization_timeout_s: Seconds | None = None
    download_timeout_s: Seconds | None = None
    placement_timeout_s: Seconds | None = 600.0
    engine_timeout_s: Seconds | None = 1800.0
    shutdown_timeout_s: Seconds = 30.0

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Return the configuration in a YAML file, with ``EVENTINIT_<FIELD>`` variables (JSON) on top.

        Raises:
            ConfigError: The file cannot be read, or a key, value or variable is wrong.
        """
        text_fields = [name for name, field in cls.model_fields.items() if _takes_text(field)]
        variables = read_variables(cls.model_fields, text_fields, os.environ)
        values = {**read_config_file(Path(path)), **variables}
        try:
            return cls(**values)
        except ConfigError as error:
            suspects = [name_of_variable(field) for field in variables if field in str(error)]
            subject = " with environment variable ".join([str(path), *suspects])
            raise ConfigError(subject, error.problems) from None

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the model comes from: one place, or several mirrors."""
        found = self.model_source
        return (str(found),) if isinstance(found, (str, Path)) else tuple(found)

    @model_validator(mode="after")
    def _model_is_not_an_engine_argument(self) -> Self:
        if "model" in self.engine_kwargs:
            raise ValueError("engine_kwargs has 'model'; write model_source instead")
        return self

    @field_serializer("callback_class", when_used="json")
    def _class_as_path(self, value: type[Any] | str | None) -> str | None:
        return dotted_path_of(value) if isinstance(value, type) else value


def _takes_text(field: FieldInfo) -> bool:
    is_union = get_origin(field.annotation) in {Union, UnionType}
    return field.annotation is str or (is_union and not {Text, str}.isdisjoint(get_args(field.annotation)))
