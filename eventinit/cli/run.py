"""``eventinit run``: start a node, show how it goes, and stop it again."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import final

import anyio
from anyio import CancelScope, create_task_group, open_signal_receiver
from anyio.abc import TaskStatus

from eventinit.bus import EventBus
from eventinit.cli.explain import Explanation
from eventinit.cli.prompt import answer
from eventinit.cli.terminal import Terminal
from eventinit.config import LLMConfig
from eventinit.errors import EngineDiedError
from eventinit.events import EngineDied, LifecycleEvent, StartEvent
from eventinit.initializer import initialize_node
from eventinit.joining import Awaited, one_error
from eventinit.node import Node

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(path: Path, prompt: str | None, *, explain: bool = False) -> int:
    """Start a node; print the answer to a prompt, or run until a signal. Return the exit status.

    With ``explain``, standard error also tells who changed what, once the start is over, however it went.
    """
    config = LLMConfig.from_yaml(path)
    return anyio.run(_run_until_signal, config, prompt, explain)


async def _run_until_signal(config: LLMConfig, prompt: str | None, explain: bool) -> int:  # noqa: FBT001
    terminal = Terminal()
    watch = _SignalWatch(terminal)
    with one_error():
        async with create_task_group() as group:
            await group.start(watch.run)
            with watch.scope:
                await _run_node(config, prompt, terminal, explain=explain)
            group.cancel_scope.cancel()
    return watch.exit_status


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


@final
class _SignalWatch:
    """Turns the first signal into a cancellation; the start or the node then cleans up after itself."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.scope = CancelScope()
        self.exit_status = 0

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        with open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                self.exit_status = self.exit_status or 128 + number
                self._terminal.say(f"\n{number.name}: cleaning up, which takes a few seconds")
                self.scope.cancel()
