"""What all tests share."""

from collections.abc import Iterator

import pytest

from eventinit.backends.ray_session import environment_now, restore_environment
from examples.local_s3 import LocalS3, local_s3
from tests.servers.azurite import Azurite, azurite
from tests.servers.gcs_emulator import GcsEmulator, gcs_emulator

EXCESS = "fetched_in_excess"
"""The property under which a trial records what share of the size was fetched twice."""

LAGS = pytest.StashKey[dict[str, float]]()


@pytest.fixture(scope="module", autouse=True)
def rays_variables_are_restored() -> Iterator[None]:
    """A Ray that a test starts sets some for good, with which the clusters of later tests would ask for a token."""
    before = environment_now()
    yield
    restore_environment(before)


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
    """Print the lags that were measured, and what kills and cuts cost."""
    lags = config.stash.get(LAGS, dict[str, float]())
    if lags:
        terminalreporter.section("event loop lag")
        for stage, lag_s in lags.items():
            terminalreporter.write_line(f"{stage:<14} {1000 * lag_s:6.0f} ms at worst")
    excesses: dict[str, list[float]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == EXCESS:
                excesses.setdefault(report.nodeid.partition("[")[0], []).append(float(str(value)))
    if excesses:
        terminalreporter.section("fetched twice")
        for test, shares in excesses.items():
            terminalreporter.write_line(f"{max(shares):6.1%} of the size at worst in {len(shares)} trials: {test}")
