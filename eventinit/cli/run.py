"""``eventinit run``: start a node, show how it goes, and stop it again."""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from eventinit.bus import EventBus
from eventinit.cli.explain import Explanation
from eventinit.cli.prompt import answer
from eventinit.cli.terminal import Terminal
from eventinit.cli.until_signal import run_until_signal
from eventinit.config import LLMConfig
from eventinit.errors import EngineDiedError
from eventinit.events import EngineDied, LifecycleEvent, StartEvent
from eventinit.initializer import initialize_node
from eventinit.joining import Awaited
from eventinit.node import Node


def run(path: Path, prompt: str | None, *, explain: bool = False) -> int:
    """Start a node; print the answer to a prompt, or run until a signal. Return the exit status.

    With ``explain``, standard error also tells who changed what, once the start is over, however it went.
    """
    config, terminal = LLMConfig.from_yaml(path), Terminal()
    return run_until_signal(partial(_run_node, config, prompt, terminal, explain=explain), terminal.say)


async def _run_node(config: LLMConfig, prompt: str | None, terminal: Terminal, *, explain: bool) -> None:
    bus = EventBus()
    death: Awaited[str] = Awaited()
    # Handlers, not observers, so that a line never comes after what it announces.
    bus.on(StartEvent, terminal.show, priority=-1000, on_error="log")
    bus.on(EngineDied, lambda event: death.set(event.reason))
    with ExitStack() as last_words:
        if explain:
            explanation = Explanation(time.time())
            bus.on(LifecycleEvent, explanation.note, priority=1000, on_error="log")
            last_words.callback(lambda: terminal.say("\n" + explanation.text()))
        async with initialize_node(config, bus=bus) as node:
            terminal.show_timeline(node.timeline)
            last_words.close()
            await _use(node, prompt, death, terminal)


async def _use(node: Node, prompt: str | None, death: Awaited[str], terminal: Terminal) -> None:
    if prompt is not None:
        terminal.say(f"\n> {prompt}")
        print(await answer(node.engine, prompt), flush=True)
        return
    terminal.say("\nthe node runs; Ctrl-C stops it")
    raise EngineDiedError(f"the engine has ended: {await death.get()}")
