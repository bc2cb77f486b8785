"""vLLM's engine arguments: which there are, and what its refusals say in a few words."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from eventinit.errors import EngineArgumentError

_LONGEST_TEXT = 600


def argument_names(vllm: Any) -> frozenset[str]:
    """Return the names of the arguments that this vLLM takes."""
    return frozenset(field.name for field in dataclasses.fields(vllm.AsyncEngineArgs) if field.init)


def refuse_unknown(arguments: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise ``EngineArgumentError`` for the first name that is not known, with the nearest one that is."""
    for name in arguments:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            remedy = f"did you mean {nearest[0]!r}?" if nearest else "remove it from engine_kwargs or extra_init_kwargs"
            raise EngineArgumentError(f"vLLM has no engine argument {name!r}; {remedy}")


def runtime_env(job: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> Any:
    """Return the workers' runtime environment: the job's with what was asked for on top, merged as Ray does it."""
    if not asked:
        return job
    import ray.runtime_env

    runtime_env: Any = ray.runtime_env.RuntimeEnv
    merged = {**(job or {}), **asked}
    if "env_vars" in merged:
        merged["env_vars"] = {**(job or {}).get("env_vars", {}), **asked.get("env_vars", {})}
    return runtime_env(**merged)


def short(error: BaseException) -> str:
    """Return an error's own text without the dump that vLLM and pydantic add to it."""
    if isinstance(error, ValidationError):
        text = "; ".join(_one(problem) for problem in error.errors(include_url=False, include_input=False))
    else:
        text = str(error).strip().split("\n\n")[0] or type(error).__name__
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _one(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
