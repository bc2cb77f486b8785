"""A callback that uses Ray before anybody has started it: Ray starts by itself, in the thread of the hook."""

import tempfile
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from eventinit import LLMConfig, NodeInitializationContext, initialize_node
from eventinit.backends.ray_cluster import RayCluster
from eventinit.errors import HandlerError
from eventinit.ports import Backends
from eventinit.testing import FakeEngineBackend, Fakes
from tests.real_ray import no_ray_left, ray, states_in_ray

# Ray warns of its own future, and leaves the files of its own start to the garbage collector.
pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def anyio_backend() -> str:
    """Ray needs asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_ray_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray's automatic start joins what its folder for temporary files names, which may be a Ray of somebody else's."""
    # A socket's path is short, so the folder is not one of pytest's.
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as folder, no_ray_left(monkeypatch):
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield


def supply_a_group(ctx: NodeInitializationContext) -> bool:
    group: Any = ray().util.placement_group([{"CPU": 1.0}], name="supplied")
    ctx.placement_group = group
    return False


class OwnGroup:
    """Makes the placement group itself, as the quick reference shows it."""

    def on_pre_placement_group(self, ctx: NodeInitializationContext) -> bool:
        return supply_a_group(ctx)


class FailsAfterwards:
    """Fails when it has started Ray."""

    def on_pre_placement_group(self, ctx: NodeInitializationContext) -> bool:
        supply_a_group(ctx)
        raise KeyError("lost")


def backends(engine: FakeEngineBackend) -> Backends:
    return Backends(open_source=Fakes().backends().open_source, cluster=RayCluster, engine=engine)


async def use_two_threads() -> None:
    """Leave two idle threads in the pool, so that the next call after their idle time ends one of them."""
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(anyio.to_thread.run_sync, ray().nodes)


async def test_a_plain_hook_may_start_ray_and_supply_a_group_that_lasts_as_long_as_the_node() -> None:
    """The sleep shows that time passing does no harm: idle pooled threads, and a Ray started in one, end after 10 s."""
    engine = FakeEngineBackend()
    config = LLMConfig(model_id="m", callback_class=OwnGroup)
    async with initialize_node(config, backends=backends(engine)) as node:
        assert engine.engines[0].request.group is node.context.placement_group
        await use_two_threads()
        await anyio.sleep(15)
        for _ in range(2):
            assert await anyio.to_thread.run_sync(states_in_ray) == {"supplied": "CREATED"}
            await anyio.sleep(1)
    assert not ray().is_initialized()


async def test_a_ray_that_a_hook_started_before_it_failed_is_stopped() -> None:
    config = LLMConfig(model_id="m", callback_class=FailsAfterwards)
    with pytest.raises(HandlerError, match="lost"):
        async with initialize_node(config, backends=backends(FakeEngineBackend())):
            pytest.fail("the hook did not fail")
    assert not ray().is_initialized()
