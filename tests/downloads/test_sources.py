"""Choosing a source, local folders, and where things lie."""

from pathlib import Path

import pytest

from eventinit.downloads import HubSource, LocalFolderSource, StoreSource, open_source
from eventinit.downloads.cache import cache_root, model_folder, safe_path
from eventinit.downloads.file_set import is_wanted
from eventinit.errors import ConfigError, ModelNotFoundError, UnsafeKeyError
from eventinit.ports import FetchProgress, ModelSource
from tests.downloads.conftest import MODEL, TOKENIZER, Reports, write_model


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("/models/x", LocalFolderSource),
        ("./x", LocalFolderSource),
        ("../x", LocalFolderSource),
        ("~/x", LocalFolderSource),
        ("s3://bucket/prefix", StoreSource),
        ("s3://bucket", StoreSource),
        ("org/name", HubSource),
        ("org/na.me-7B@refs/pr/1", HubSource),
        ("gpt2", HubSource),
    ],
)
def test_the_string_chooses_the_source(text: str, kind: type[ModelSource]) -> None:
    assert isinstance(open_source(text), kind)


def test_a_folder_that_exists_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert isinstance(open_source("org/name"), LocalFolderSource)


@pytest.mark.parametrize("text", ["foo://bar", "a/b/c", "", "org/name@", "s3://", "s3://user:pw@b/x"])
def test_what_names_no_source_is_a_config_error_with_the_ways_that_exist(text: str) -> None:
    with pytest.raises(ConfigError, match=r"model_source: .*s3://bucket/prefix") as caught:
        open_source(text)

    assert "pw" not in str(caught.value)


@pytest.mark.asyncio
async def test_a_local_folder_is_used_in_place(tmp_path: Path, reports: Reports) -> None:
    write_model(tmp_path, {name: MODEL[name] for name in TOKENIZER} | {"w.safetensors": b"123"})
    total = sum(len(MODEL[name]) for name in TOKENIZER)

    result = await open_source(str(tmp_path)).fetch("TOKENIZER_ONLY", reports.append)

    assert result.path == tmp_path
    assert (result.files, result.bytes_total, result.bytes_fetched) == (len(TOKENIZER), total, 0)
    assert reports == [FetchProgress(total, total, len(TOKENIZER), len(TOKENIZER))]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "problem"), [("absent", "no such folder"), ("file", "not a folder"), ("empty", "is empty")]
)
async def test_a_folder_without_a_model_is_named_with_the_remedy(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()

    with pytest.raises(ModelNotFoundError, match=f"{name}: .*{problem}.*set model_source"):
        await open_source(str(tmp_path / name)).fetch("MODEL_AND_TOKENIZER", lambda _: None)


@pytest.mark.asyncio
async def test_a_folder_above_a_model_is_refused_with_the_folder_to_name(tmp_path: Path) -> None:
    write_model(tmp_path / "name", MODEL)

    with pytest.raises(ModelNotFoundError, match=f"{tmp_path}/: no model lies here, but in name; .* {tmp_path}/name$"):
        await open_source(f"{tmp_path}/").fetch("MODEL_AND_TOKENIZER", lambda _: None)


@pytest.mark.asyncio
@pytest.mark.parametrize("mark", ["config.json", "params.json", "model_index.json", "w-Q4.gguf", "a.safetensors"])
async def test_a_model_may_have_others_inside(tmp_path: Path, mark: str) -> None:
    write_model(tmp_path, {mark: b"", "draft/config.json": b""})

    result = await open_source(str(tmp_path)).fetch("MODEL_AND_TOKENIZER", lambda _: None)

    assert result.files == 2


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "generation_config.json",
        "merges.txt",
        "chat_template.jinja",
        "additional_chat_templates/tool.jinja",
        "preprocessor_config.json",
        "tekken.json",
        "qwen.tiktoken",
    ],
)
def test_the_tokenizer_mode_takes_what_a_tokenizer_is_built_from(name: str) -> None:
    assert is_wanted("TOKENIZER_ONLY", name)
    assert is_wanted("EXCLUDE_SAFETENSORS", name)
    assert not is_wanted("NONE", name)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "README.md", "onnx/config.json"]
)
def test_the_tokenizer_mode_leaves_the_rest(name: str) -> None:
    assert not is_wanted("TOKENIZER_ONLY", name)
    assert is_wanted("MODEL_AND_TOKENIZER", name)


def test_the_index_of_the_shards_is_no_weight() -> None:
    """vLLM reads it to learn which shards there will be."""
    assert is_wanted("EXCLUDE_SAFETENSORS", "model.safetensors.index.json")
    assert not is_wanted("EXCLUDE_SAFETENSORS", "sub/model.safetensors")


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\..\\b", "", "a/", ".", "a\0b", ".eventinit/x"]
)
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnsafeKeyError, match="rename the object"):
        safe_path("s3://b/p", tmp_path, key)


def test_no_symbolic_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "away").symlink_to(tmp_path)

    with pytest.raises(UnsafeKeyError, match="symbolic link"):
        safe_path("s3://b/p", folder, "away/x")
    assert safe_path("s3://b/p", folder, "in/side") == folder / "in" / "side"


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTINIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "eventinit"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "eventinit"

    monkeypatch.setenv("EVENTINIT_CACHE", str(tmp_path / "ours"))
    assert cache_root() == tmp_path / "ours"


def test_a_folder_name_is_readable_and_its_own() -> None:
    """Names that read the same still belong to different sources."""
    one, two = model_folder("s3", "b/x y", "s3://b/x y"), model_folder("s3", "b/x--y", "s3://b/x--y")

    assert one != two
    assert one.name.startswith("b--x--y-")


def test_several_uris_are_mirrors_of_one_model() -> None:
    assert isinstance(open_source("s3://models/tiny", "https://example.org/models/tiny"), StoreSource)


@pytest.mark.parametrize("other", ["org/name", "/models/tiny", "ftp://models/tiny"])
def test_what_is_no_uri_of_a_store_cannot_be_a_mirror(other: str) -> None:
    for sources in (("s3://models/tiny", other), (other, "s3://models/tiny")):
        with pytest.raises(ConfigError, match=r"model_source: .*(mirror|not supported)"):
            open_source(*sources)
