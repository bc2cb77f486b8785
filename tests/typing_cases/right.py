"""Subscriptions that a type checker must accept; ``tests/test_typing.py`` asks mypy and pyright."""

from typing import assert_type

from eventinit import (
    Change,
    Event,
    EventBus,
    EventStream,
    LLMConfig,
    NodeInitializationContext,
    ObserverSetAside,
    Outcome,
    SubscriberStatus,
    Subscription,
    Veto,
    VetoRecord,
    handles,
    observes,
)
from eventinit.events import PostDownload, PreDownload, PreEngineInit, PrePlacementGroup, StartEvent
from eventinit.testing import record

bus = EventBus()
config = LLMConfig(model_id="m", engine_kwargs={"max_model_len": 8}, callback_class="a.b.C", download_timeout_s=5)


class Ping(Event):
    n: int = 0


@bus.on(PreEngineInit, priority=10)
async def tune(event: PreEngineInit) -> None:
    event.context.extra_init_kwargs["gpu_memory_utilization"] = 0.95


@bus.on(PreEngineInit)
def tune_inline(event: PreEngineInit) -> None:
    assert_type(event.context, NodeInitializationContext)


@bus.on(PreDownload)
def already_baked_in(event: PreDownload) -> Veto | None:
    return Veto("the image carries the weights")


@bus.on(PreDownload, thread=True, on_error="log", name="no", where=lambda event: event.start_id != "")
def no(event: PreDownload) -> bool:
    return False


@bus.on(PrePlacementGroup)
async def not_here(event: PrePlacementGroup) -> Veto:
    return Veto("no")


@bus.on(PrePlacementGroup)
async def nothing(event: PrePlacementGroup) -> None: ...


@bus.on(PreDownload)
async def takes_a_base_class(event: StartEvent) -> None: ...


@bus.on(Event)
def everything(event: Event) -> None: ...


@bus.on(Ping)
async def ping(event: Ping) -> None:
    assert_type(event.n, int)


@bus.observe(Event)
async def audit(event: Event) -> None: ...


@bus.observe(PreDownload)
def audit_in_a_thread(event: PreDownload) -> None: ...


@bus.observe(Ping, where=lambda event: event.n > 1)
async def audit_some(event: Ping) -> None: ...


@bus.on(Ping, once=True, timeout=5)
async def once_and_in_time(event: Ping) -> None: ...


@bus.on(Ping, thread=True, timeout=0.5)
def in_a_thread_and_in_time(event: Ping) -> None: ...


@bus.on(ObserverSetAside)
def alarm(event: ObserverSetAside) -> None:
    assert_type(event.failures, int)


class Listener:
    @handles(PreDownload, priority=1)
    async def before(self, event: PreDownload) -> Veto | None:
        return None

    def after(self, event: PostDownload) -> None: ...

    @observes(Ping)
    async def watch(self, event: Ping) -> None: ...

    @observes(Ping)
    @observes(PreDownload)
    def watch_two(self, event: Event) -> None: ...


@observes(ObserverSetAside)
def watch(event: ObserverSetAside) -> None: ...


async def uses(context: NodeInitializationContext) -> None:
    assert_type(bus.on(PostDownload, Listener().after), Subscription)
    assert_type(bus.on(PreDownload, already_baked_in), Subscription)
    assert_type(bus.observe(Ping, ping), Subscription)
    assert_type(await bus.emit(Ping(n=1)), Outcome)
    context.local_node_download_model = "NONE"
    context.runtime_env = {"env_vars": {"A": "1"}}
    context.custom_data["x"] = 1
    context.extra_init_kwargs |= {"max_model_len": 8}


async def watching() -> None:
    assert_type(bus.stream(Ping), EventStream[Ping])
    async for event in bus.stream(Ping, where=lambda event: event.n > 1):
        assert_type(event, Ping)
    with bus.stream(Ping) as pings:
        assert_type(pings, EventStream[Ping])
        assert_type(await anext(pings), Ping)
    assert_type(await bus.wait_for(Ping), Ping)
    assert_type(
        await bus.wait_for(ObserverSetAside, timeout=1.5, where=lambda event: event.failures > 1), ObserverSetAside
    )
    found: Event = await bus.wait_for(Ping)
    assert_type(bus.subscribers(), tuple[SubscriberStatus, ...])
    with bus.on(Ping, ping) as subscription, bus.observe(Ping, audit_some), bus.attach(Listener()):
        assert_type(subscription, Subscription)
        outcome = await bus.emit(found)
    assert_type(outcome.changes, tuple[Change, ...])
    assert_type(outcome.vetoes, tuple[VetoRecord, ...])
    assert_type(outcome.vetoed, bool)
    with record(bus, Ping) as events:
        assert_type(await events.expect(Ping, within_s=1), Ping)
        assert_type(events.of(Ping), list[Ping])
