import threading

import anyio
import pytest

from eventinit.downloads.stoppable_thread import run_stoppable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_result_comes_back() -> None:
    assert await run_stoppable(lambda stop: stop.is_set(), 1) is False


async def test_the_thread_has_ended_when_the_cancellation_goes_on() -> None:
    running, ended = threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        running.set()
        stop.wait(30)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stoppable, work, 30)
        await anyio.to_thread.run_sync(running.wait)
        tasks.cancel_scope.cancel()

    assert ended.is_set()


async def test_a_thread_that_does_not_listen_is_abandoned_after_the_grace() -> None:
    running, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        running.set()
        release.wait(30)
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_stoppable, work, 0.05)
        await anyio.to_thread.run_sync(running.wait)
        tasks.cancel_scope.cancel()

    assert not ended.is_set()
    release.set()
    await anyio.to_thread.run_sync(ended.wait)


async def test_a_cancelled_caller_waits_for_no_thread_that_never_began() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_stoppable(lambda stop: None, 3600)

    assert scope.cancelled_caught
