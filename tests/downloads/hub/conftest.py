from collections.abc import Iterator

import pytest

from tests.downloads.hub.trials import MODEL
from tests.servers.hub import HubState, hub_server


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub be asked: huggingface_hub reads ``HF_HUB_OFFLINE`` once, and other tests set it for their engines."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub() -> Iterator[HubState]:
    with hub_server() as state:
        state.models["org/name"] = MODEL
        yield state
