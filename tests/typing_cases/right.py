"""Subscriptions that a type checker must accept; ``tests/test_typing.py`` asks mypy and pyright."""

from typing import assert_type

from eventinit import Event, EventBus, LLMConfig, NodeInitializationContext, Outcome, Subscription, Veto, handles
from eventinit.events import PostDownload, PreDownload, PreEngineInit, PrePlacementGroup, StartEvent

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


class Listener:
    @handles(PreDownload, priority=1)
    async def before(self, event: PreDownload) -> Veto | None:
        return None

    def after(self, event: PostDownload) -> None: ...


async def uses(context: NodeInitializationContext) -> None:
    assert_type(bus.on(PostDownload, Listener().after), Subscription)
    assert_type(bus.on(PreDownload, already_baked_in), Subscription)
    assert_type(bus.observe(Ping, ping), Subscription)
    assert_type(await bus.emit(Ping(n=1)), Outcome)
    context.local_node_download_model = "NONE"
    context.runtime_env = {"env_vars": {"A": "1"}}
    context.custom_data["x"] = 1
    context.extra_init_kwargs |= {"max_model_len": 8}
