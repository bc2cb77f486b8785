"""A callback class that a YAML file names: some of the eight hooks, plain and async, with arguments of its own.

    python examples/callback.py                              # from the project's folder; on fakes
    eventinit run examples/callback.yaml --prompt "Hello"    # the same configuration, for real

Take ``SiteRules`` as the beginning of your own class: every hook is optional.
"""

import asyncio
import sys
from pathlib import Path

from eventinit import LLMConfig, NodeInitializationContext, initialize_node
from eventinit.testing import FakeEngineBackend, Fakes, FakeSource

PROJECT = Path(__file__).resolve().parent.parent
CONFIG = Path(__file__).with_name("callback.yaml")


class SiteRules:
    """What holds for every node of one site; the arguments come from ``callback_kwargs``."""

    def __init__(self, weights_in_image: str, max_model_len: int) -> None:
        self.weights_in_image = Path(weights_in_image)
        self.max_model_len = max_model_len

    def on_pre_download(self, ctx: NodeInitializationContext) -> bool | None:
        """Use the weights in the image where it has them. A plain hook may block: it runs in a thread."""
        if not self.weights_in_image.is_dir():
            print(f"on_pre_download: no {self.weights_in_image} here, so the model is fetched")
            return None
        ctx.extra_init_kwargs["model"] = str(self.weights_in_image)
        return False

    def on_post_download(self, ctx: NodeInitializationContext) -> None:
        """Tell where the files are; there is no result when the download was vetoed."""
        if ctx.download_result is not None:
            print(f"on_post_download: {ctx.download_result.files} files, {ctx.download_result.bytes_total} bytes")

    async def on_pre_engine_init(self, ctx: NodeInitializationContext) -> None:
        """Set an engine argument. An async hook runs on the event loop and may await."""
        ctx.extra_init_kwargs["max_model_len"] = min(self.max_model_len, await ask_for_limit())
        print(f"on_pre_engine_init: max_model_len is {ctx.extra_init_kwargs['max_model_len']}")

    def on_post_initialization(self, ctx: NodeInitializationContext) -> None:
        """Sum up: the context knows who changed what."""
        for change in ctx.changes:
            print(f"on_post_initialization: {change.path} was set by {change.handler}")


async def ask_for_limit() -> int:
    """Stand for a question to a service of yours."""
    await asyncio.sleep(0.1)
    return 2048


async def main() -> None:
    config = LLMConfig.from_yaml(CONFIG)
    fakes = Fakes(FakeSource(seconds=0.2), engine=FakeEngineBackend(seconds=0.2))
    async with initialize_node(config, backends=fakes.backends()) as node:
        answer = ""
        async for output in node.engine.generate("The node answers.", None, "request-1"):
            answer = output.outputs[0].text
        print(f"engine: {answer}")
    print("\nThat was a start on fakes. For real, with vLLM installed:")
    print(f'  eventinit run {CONFIG.relative_to(PROJECT)} --prompt "Hello"')


if __name__ == "__main__":
    # `python examples/callback.py` looks for modules in examples/ only; the configuration names examples.callback.
    sys.path.insert(0, str(PROJECT))
    asyncio.run(main())
