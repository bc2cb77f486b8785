"""The heavy imports of a start, paid for at a time of the caller's choosing."""

import importlib

from eventinit.backends.vllm_engine import load_vllm

_IMPORTED_BY_A_START = ("vllm.v1.engine.async_llm", "vllm.v1.engine.core_client", "vllm.v1.executor.abstract")


def preload() -> None:
    """Import Ray and vLLM here and now, so that no start has to.

    Loading vLLM's libraries keeps the interpreter busy for some ten seconds, also when a thread does it: an event
    loop that runs meanwhile answers up to half a second late. A service calls this before its loop starts.

    Raises:
        MissingExtraError: vLLM is not installed.
    """
    load_vllm()
    for name in ("ray", *_IMPORTED_BY_A_START):
        importlib.import_module(name)
