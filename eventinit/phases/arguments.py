"""The engine's arguments: put together from configuration and context, and checked by name."""

from typing import Any

from eventinit.errors import EngineArgumentError
from eventinit.frozen import thaw
from eventinit.start import Start
from eventinit.suggestion import did_you_mean


def engine_arguments(start: Start) -> dict[str, Any]:
    """Return the engine's arguments as they are now: the model, ``engine_kwargs``, then ``extra_init_kwargs``.

    The model is the folder that was fetched, or ``model_source`` when nothing was; it is served as ``model_id``.
    """
    result = start.context.download_result
    return {
        "model": start.config.sources[0] if result is None else str(result.path),
        "served_model_name": start.config.model_id,
        **thaw(start.config.engine_kwargs),
        **thaw(start.context.extra_init_kwargs),
    }


async def check_argument_names(start: Start) -> None:
    """Load the engine's code and refuse arguments that it does not know.

    Raises:
        EngineArgumentError: There is such an argument; the message has the nearest right one.
    """
    known = await start.backends.engine.argument_names()
    for name in engine_arguments(start):
        if name not in known:
            where = "extra_init_kwargs" if name in start.context.extra_init_kwargs else "engine_kwargs"
            nearest = did_you_mean(name, known) if known else ""
            raise EngineArgumentError(f"the engine has no argument {name!r} (from {where}); {nearest}")
