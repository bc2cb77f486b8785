"""In which threads the plain hooks of an object run."""

import threading

import anyio
import pytest

from eventinit import EventBus, LLMConfig, NodeInitializationContext
from eventinit.events import PreDownload

pytestmark = pytest.mark.anyio


class Noting:
    """Notes the thread of each hook; the first waits until it is let go, if asked to."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.begun = threading.Event()
        self.go = threading.Event()

    def on_pre_download(self, _ctx: NodeInitializationContext) -> None:
        self.threads.append(threading.current_thread())
        self.begun.set()
        assert self.go.wait(30)


@pytest.fixture
def event() -> PreDownload:
    return PreDownload(context=NodeInitializationContext(LLMConfig(model_id="m")))


async def test_the_hooks_of_an_attached_object_share_a_thread_that_ends_when_it_is_detached(event: PreDownload) -> None:
    bus, noting = EventBus(), Noting()
    noting.go.set()
    with bus.attach(noting):
        for _ in range(2):
            await bus.emit(event)
        assert noting.threads[0] is noting.threads[1]
        assert noting.threads[0].is_alive()
    await anyio.to_thread.run_sync(noting.threads[0].join, 30)
    assert not noting.threads[0].is_alive()


async def test_a_hook_that_was_abandoned_holds_up_no_later_one(
    event: PreDownload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next hook gets a thread of its own, in the same attachment and in another."""
    monkeypatch.setattr("eventinit.hooks.GRACE_S", 0.05)
    bus, noting = EventBus(), Noting()
    attachment = bus.attach(noting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.emit, event)
        await anyio.to_thread.run_sync(noting.begun.wait, 30)
        tasks.cancel_scope.cancel()
    [blocked] = noting.threads
    gate, noting.go = noting.go, threading.Event()
    noting.go.set()
    with anyio.fail_after(30):
        await bus.emit(event)
        with bus.attach(noting):
            await bus.emit(event)
    assert blocked.is_alive()
    assert blocked not in noting.threads[1:]
    gate.set()
    attachment.cancel()
    for thread in noting.threads:
        await anyio.to_thread.run_sync(thread.join, 30)
        assert not thread.is_alive()
