"""Mistakes that a type checker must find: each line with the mark, and no other."""

from typing import Any

from eventinit import (
    Event,
    EventBus,
    LLMConfig,
    NodeInitializationContext,
    ObserverSetAside,
    Veto,
    handles,
    observes,
)
from eventinit.events import PostDownload, PreDownload, PreEngineInit

bus = EventBus()


# A handler of another event.
@bus.on(PreEngineInit)  # error
def of_another(event: PreDownload) -> None: ...


@bus.on(PreDownload)  # error
async def of_another_async(event: PreEngineInit) -> None: ...


@bus.on(Event)  # error
def of_a_derived(event: PreDownload) -> None: ...


@bus.observe(PreEngineInit)  # error
def observer_of_another(event: PreDownload) -> None: ...


@bus.observe(PreEngineInit)  # error
async def observer_of_another_async(event: PreDownload) -> None: ...


# A veto where none is allowed.
@bus.on(PreEngineInit)  # error
def veto(event: PreEngineInit) -> Veto:
    return Veto("no")


@bus.on(PreEngineInit)  # error
async def veto_async(event: PreEngineInit) -> Veto:
    return Veto("no")


@bus.on(PostDownload)  # error
def perhaps_a_veto(event: PostDownload) -> Veto | None:
    return None


@bus.on(PostDownload)  # error
async def perhaps_a_veto_async(event: PostDownload) -> Veto | None:
    return None


@bus.on(PreEngineInit)  # error
def false(event: PreEngineInit) -> bool:
    return False


@bus.on(PreEngineInit)  # error
async def false_async(event: PreEngineInit) -> bool:
    return False


@bus.on(Event)  # error
def veto_of_everything(event: Event) -> Veto | None:
    return None


# An answer that is no veto.
@bus.on(PreDownload)  # error
def text(event: PreDownload) -> str:
    return "no"


@bus.on(PreDownload)  # error
async def text_async(event: PreDownload) -> str:
    return "no"


# An observer that answers.
@bus.observe(PreDownload)  # error
def observer_with_an_answer(event: PreDownload) -> bool:
    return False


@bus.observe(PreDownload)  # error
async def observer_with_an_answer_async(event: PreDownload) -> bool:
    return False


@bus.on(str)  # error
def no_event(event: Any) -> None: ...


@bus.on(PreDownload, prio=1)  # error
def misspelt_option(event: PreDownload) -> None: ...


@bus.on(PreDownload, on_error="ignore")  # error
def wrong_option(event: PreDownload) -> None: ...


@bus.on(PreDownload, timeout="5")  # error
async def text_for_seconds(event: PreDownload) -> None: ...


@bus.on(PreDownload, once=1.5)  # error
async def number_for_once(event: PreDownload) -> None: ...


@bus.on(ObserverSetAside)  # error
def veto_of_what_has_happened(event: ObserverSetAside) -> Veto:
    return Veto("no")


@bus.observe(PreDownload, on_error="log")  # error
def observer_with_an_option_of_handlers(event: PreDownload) -> None: ...


@bus.observe(PreDownload, where=True)  # error
def filter_that_is_no_function(event: PreDownload) -> None: ...


@bus.on(PreDownload)  # error
def takes_nothing() -> None: ...


def plain(event: PreEngineInit) -> None: ...


def with_a_veto(event: PreEngineInit) -> Veto:
    return Veto("no")


async def with_a_veto_async(event: PreEngineInit) -> Veto:
    return Veto("no")


async def uses(context: NodeInitializationContext) -> None:
    bus.on(PreEngineInit, with_a_veto)  # error
    bus.on(PreEngineInit, with_a_veto_async)  # error
    bus.on(PreDownload, plain)  # error
    bus.observe(PreDownload, plain)  # error
    bus.observe(PreEngineInit, with_a_veto)  # error
    bus.observe(PreEngineInit, with_a_veto_async)  # error
    await bus.emit("PreDownload")  # error
    await bus.emit(PreDownload)  # error
    context.local_node_download_model = "ALL"  # error
    context.runtime_env = None  # error
    context.worker_node_downlod_model = "NONE"  # error
    LLMConfig(modelid="m")  # error


async def watching() -> None:
    bus.stream(str)  # error
    await bus.wait_for(str)  # error
    bus.stream(PreDownload())  # error
    other: PreEngineInit = await bus.wait_for(PreDownload)  # error
    async for event in bus.stream(PreDownload):
        other = event  # error
    for _event in bus.stream(PreDownload):  # error
        break
    await bus.wait_for(PreDownload, timeout="5")  # error
    outcome = await bus.emit(other)
    outcome.vetoes = ()  # error
    print((await bus.emit(other)).veto)  # error
    with bus.on(PreDownload):  # error
        pass
    bus.subscribers()[0].calls = 1  # error


class Listener:
    @handles(PreDownload)  # error
    async def of_another(self, event: PreEngineInit) -> None: ...

    @handles(PreEngineInit)  # error
    async def veto(self, event: PreEngineInit) -> Veto:
        return Veto("no")

    @handles(PreEngineInit)  # error
    def veto_at_once(self, event: PreEngineInit) -> Veto:
        return Veto("no")


@handles(PreEngineInit)  # error
def marked(event: PreDownload) -> None: ...


class Watcher:
    @observes(PreDownload)  # error
    def of_another(self, event: PreEngineInit) -> None: ...

    @observes(PreDownload)  # error
    async def with_an_answer(self, event: PreDownload) -> Veto | None:
        return None

    @observes(PreDownload)  # error
    def with_an_answer_at_once(self, event: PreDownload) -> bool:
        return False

    @observes(str)  # error
    def of_no_event(self, event: Any) -> None: ...


@observes(PreDownload)  # error
def watched(event: PreDownload) -> int:
    return 1
