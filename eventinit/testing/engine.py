"""An engine that answers without a model."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from anyio import Event, sleep
from anyio.lowlevel import checkpoint

from eventinit.ports import EngineRequest

ARGUMENTS = frozenset(
    {
        "model",
        "served_model_name",
        "tokenizer",
        "dtype",
        "max_model_len",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "prefill_context_parallel_size",
        "data_parallel_size",
        "data_parallel_size_local",
        "data_parallel_rank",
        "data_parallel_external_lb",
        "data_parallel_backend",
        "distributed_executor_backend",
        "enforce_eager",
        "trust_remote_code",
        "load_format",
    }
)
"""Some of vLLM's engine arguments; ``FakeEngineBackend(known=ARGUMENTS | {"max_num_seqs"})`` knows more."""


@dataclass(slots=True)
class FakeEngine:
    """What ``node.engine`` is on the fakes: its ``generate`` repeats the prompt, one word at a time.

    Attributes:
        request: What it was started with.
        running: Whether it has neither been stopped nor died.
    """

    request: EngineRequest
    running: bool = True
    _death: Event = field(default_factory=Event)
    _reason: str = ""

    @property
    def engine(self) -> "FakeEngine":
        """The engine itself."""
        return self

    async def generate(self, prompt: str, sampling_params: Any, request_id: str) -> AsyncIterator[Any]:
        """Yield outputs in the shape of vLLM's, ``output.outputs[0].text``; the parameters may be None here."""
        words = prompt.split(" ")
        for count in range(1, len(words) + 1):
            await checkpoint()
            text = " ".join(words[:count])
            done = count == len(words)
            yield SimpleNamespace(request_id=request_id, outputs=[SimpleNamespace(text=text)], finished=done)

    def die(self, reason: str) -> None:
        """End by itself, as a crashed engine does: the node emits ``EngineDied`` with the reason."""
        self.running = False
        self._reason = reason
        self._death.set()

    async def wait_until_dead(self) -> str:
        """Return the reason given to ``die``."""
        await self._death.wait()
        return self._reason

    async def stop(self, grace_s: float) -> None:
        """End at once."""
        await checkpoint()
        self.running = False


@dataclass(slots=True)
class FakeEngineBackend:
    """Implements the ``EngineBackend`` port.

    Attributes:
        seconds: How long an engine takes to start, in seconds.
        known: The names of the arguments it takes.
        fails_with: Raised when an engine is started.
        engines: Every engine that was started.
    """

    seconds: float = 0.0
    known: frozenset[str] = ARGUMENTS
    fails_with: Exception | None = None
    engines: list[FakeEngine] = field(default_factory=list[FakeEngine])

    async def argument_names(self) -> frozenset[str]:
        """Return ``known``."""
        await checkpoint()
        return self.known

    async def launch(self, request: EngineRequest) -> FakeEngine:
        """Start an engine in ``seconds``; raises ``fails_with`` if that is set."""
        await sleep(self.seconds)
        if self.fails_with is not None:
            raise self.fails_with
        engine = FakeEngine(request)
        self.engines.append(engine)
        return engine
