"""Secrets do not appear in the list of changes, and what only looks like one does."""

import pytest

from eventinit import LLMConfig, NodeInitializationContext

SECRET = "hf_abcdefghijklmnop"


@pytest.fixture
def context() -> NodeInitializationContext:
    """Give a context as a start makes it."""
    return NodeInitializationContext(LLMConfig(model_id="m"))


SECRET_NAMES = [
    "HF_TOKEN",
    "hf_token",
    "token",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "aws_access_key_id",
    "OPENAI_API_KEY",
    "apikey",
    "api-key",
    "x-api-key",
    "Authorization",
    "password",
    "db_password",
    "client_secret",
    "accessToken",
    "clientSecret",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "APIKey",
    "PGPASSWORD",
    "secrets",
    "TOKEN_2",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_does_not_show_in_a_change(context: NodeInitializationContext, name: str) -> None:
    context.runtime_env["env_vars"] = {name: SECRET}
    context.runtime_env["env_vars"][name] = SECRET + "2"
    context.custom_data[name] = SECRET
    context.custom_data = {"outer": [{name: SECRET}]}
    assert len(context.changes) >= 4
    assert SECRET not in repr(context.changes)
    assert SECRET not in "".join(map(str, context.changes))


def test_the_context_itself_keeps_the_secret(context: NodeInitializationContext) -> None:
    context.runtime_env["env_vars"] = {"HF_TOKEN": SECRET}
    assert context.runtime_env == {"env_vars": {"HF_TOKEN": SECRET}}


def test_everything_below_a_secret_name_is_hidden(context: NodeInitializationContext) -> None:
    context.custom_data["credentials"] = {"user": "me"}
    context.custom_data["credentials"]["value"] = SECRET
    assert len(context.changes) == 2
    assert SECRET not in repr(context.changes)


def test_a_password_in_an_address_is_hidden(context: NodeInitializationContext) -> None:
    context.custom_data["store"] = f"https://me:{SECRET}@host/path"
    assert SECRET not in repr(context.changes)
    assert "host/path" in repr(context.changes)


def test_a_password_in_a_set_of_addresses_is_hidden(context: NodeInitializationContext) -> None:
    context.custom_data["stores"] = {f"https://me:{SECRET}@host/path"}
    assert SECRET not in repr(context.changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_num_batched_tokens", 2048),
        ("max_tokens", 16),
        ("long_prefill_token_threshold", 512),
        ("bos_token_id", 1),
        ("eosTokenIds", [2, 3]),
        ("stop_token_ids", [4]),
        ("pad_token", "<pad>"),
        ("tokenizer", "org/name"),
        ("tokenizer_mode", "slow"),
        ("sort_key", "name"),
        ("keyboard", "qwerty"),
    ],
)
def test_engine_arguments_that_only_sound_like_secrets_are_shown(
    context: NodeInitializationContext, name: str, value: object
) -> None:
    context.extra_init_kwargs[name] = value
    assert context.changes[0].new == value
