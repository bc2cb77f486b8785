"""What all tests share."""

from collections.abc import Iterator

import pytest

from examples.local_s3 import LocalS3, local_s3
from tests.servers.azurite import Azurite, azurite
from tests.servers.gcs_emulator import GcsEmulator, gcs_emulator

LAGS = pytest.StashKey[dict[str, float]]()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each test that is marked with anyio on both event loops."""
    return str(request.param)


@pytest.fixture(scope="session")
def server() -> Iterator[LocalS3]:
    """A real S3 server, one for all tests."""
    with local_s3() as running:
        yield running


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    """A real Azure Blob Storage, one for all tests."""
    with azurite() as running:
        yield running


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsEmulator]:
    """A Google Cloud Storage, one for all tests."""
    with gcs_emulator() as running:
        yield running


@pytest.fixture(scope="session")
def lag_report(pytestconfig: pytest.Config) -> dict[str, float]:
    """The event loop's worst lag in seconds by stage, which the summary prints."""
    return pytestconfig.stash.setdefault(LAGS, dict[str, float]())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the lags that were measured."""
    lags = config.stash.get(LAGS, dict[str, float]())
    if lags:
        terminalreporter.section("event loop lag")
        for stage, lag_s in lags.items():
            terminalreporter.write_line(f"{stage:<14} {1000 * lag_s:6.0f} ms at worst")
