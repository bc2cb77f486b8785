"""One prompt, one answer."""

import importlib
from typing import Any

from anyio import to_thread

MAX_TOKENS = 256


async def answer(engine: Any, prompt: str) -> str:
    """Return a vLLM engine's answer to a prompt: greedy, with the model's chat template where it has one."""
    tokenizer = engine.get_tokenizer()
    text = await to_thread.run_sync(_apply_template, tokenizer, prompt)
    parameters = importlib.import_module("vllm").SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS)
    result = ""
    async for output in engine.generate(text, parameters, "eventinit-run"):
        result = str(output.outputs[0].text)
    return result.strip()


def _apply_template(tokenizer: Any, prompt: str) -> str:
    if getattr(tokenizer, "chat_template", None) is None:
        return prompt
    messages = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
