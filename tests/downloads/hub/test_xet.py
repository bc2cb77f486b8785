"""Files that the Hub keeps in its Xet storage, for which hf_xet has a storage in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.downloads.hub.trials import files, ignore, open_hub, program, weights
from tests.servers.hub import HubState

pytestmark = [pytest.mark.real]

WEIGHTS = "model.safetensors"
SIZE = 3 * 1024 * 1024
MODEL = {"config.json": b"{}", WEIGHTS: weights(SIZE)}

_UPLOAD = """
import sys, hf_xet
with hf_xet.XetSession().new_upload_commit(endpoint=sys.argv[1]) as commit:
    upload = commit.start_upload_file(sys.argv[2])
print(upload.result().xet_info.hash)
"""


@pytest.fixture(autouse=True)
def stored(hub: HubState, tmp_path: Path) -> None:
    """The weights are in the Xet storage; over HTTP they could be had as well."""
    hub.models["org/name"] = MODEL
    content = tmp_path / "content"
    content.write_bytes(MODEL[WEIGHTS])
    (tmp_path / "xet").mkdir()
    hub.xet_storage = f"local://{tmp_path / 'xet'}"
    # In a process of its own, since a session keeps such a storage to itself.
    command = [sys.executable, "-c", _UPLOAD, hub.xet_storage, str(content)]
    hub.xet_hashes[WEIGHTS] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.asyncio
async def test_weights_come_from_the_xet_storage(hub: HubState, tmp_path: Path) -> None:
    result = await open_hub(hub, tmp_path / "hub").fetch("MODEL_AND_TOKENIZER", ignore)

    assert files(result.path) == MODEL
    assert result.bytes_fetched == result.bytes_total
    assert hub.served == ["config.json"]


@pytest.mark.asyncio
async def test_a_xet_storage_that_refuses_leaves_the_way_over_http(hub: HubState, tmp_path: Path) -> None:
    hub.xet_storage = f"local://{tmp_path / 'nothing'}"

    result = await open_hub(hub, tmp_path / "hub").fetch("MODEL_AND_TOKENIZER", ignore)

    assert files(result.path) == MODEL
    assert set(hub.served) == set(MODEL)


def test_what_is_there_is_not_fetched_again(hub: HubState, tmp_path: Path) -> None:
    with program(hub, tmp_path / "hub") as first:
        first.result()
    blob = next((tmp_path / "hub").rglob(WEIGHTS)).resolve()
    os.truncate(blob.rename(blob.with_name(f"{blob.name}.incomplete")), SIZE // 2)

    with program(hub, tmp_path / "hub") as second:
        result = second.result()

    assert files(Path(result["path"])) == MODEL
    assert result["fetched"] == SIZE // 2
