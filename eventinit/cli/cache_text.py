"""How the models of a cache are told: a table for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from eventinit.cli.columns import age_text, bytes_text, columns
from eventinit.downloads.cache import cache_root
from eventinit.downloads.cached_model import CachedModel
from eventinit.downloads.hub_inventory import hub_cache_folder
from eventinit.downloads.manifest import FinishedMode

_HEADINGS = ("SOURCE", "COMPLETE", "FILES", "SIZE", "PARTIAL", "VERIFIED BY", "USED", "FETCHED", "PATH")


def table(models: Sequence[CachedModel], now: float) -> str:
    """Return a table for each cache that holds something; ages count up to ``now``, in seconds since 1970."""
    parts = [
        f"{_root_text(root)}\n{columns([_HEADINGS, *rows])}"
        for root in ("eventinit", "hub")
        if (rows := [_row(model, now) for model in models if model.root == root])
    ]
    if not parts:
        return f"no models in {_root_text('eventinit')}, and none fetched into {_root_text('hub')}"
    return "\n\n".join(parts)


def as_json(models: Iterable[CachedModel]) -> str:
    """Return the models as JSON; times are seconds since 1970, sizes bytes."""
    said = {
        "caches": {"eventinit": str(cache_root()), "hub": str(hub_cache_folder())},
        "models": [_model(model) for model in models],
    }
    return json.dumps(said, indent=2)


def where(model: CachedModel) -> str:
    """Return where a model lies, for people."""
    return str(model.folder) if model.root == "eventinit" else f"{model.folder}, in the Hub's cache"


def _root_text(root: str) -> str:
    if root == "eventinit":
        return f"the cache of eventinit, {cache_root()} (EVENTINIT_CACHE)"
    return f"the Hub's cache, {hub_cache_folder()} (HF_HOME)"


def _row(model: CachedModel, now: float) -> tuple[str, ...]:
    return (
        model.source,
        ", ".join(dict.fromkeys(map(_mode_text, model.modes))) or "nothing",
        str(len(model.files)),
        bytes_text(model.size),
        bytes_text(model.partial_bytes) if model.partial_bytes else "-",
        ", ".join(sorted(model.verified)) or "-",
        age_text(now - model.used_at),
        age_text(now - model.fetched_at) if model.fetched_at is not None else "-",
        str(model.folder),
    )


def _mode_text(mode: FinishedMode) -> str:
    only = [f"include {glob}" for glob in mode.include] + [f"exclude {glob}" for glob in mode.exclude]
    return f"{mode.mode} ({', '.join(only)})" if only else mode.mode


def _model(model: CachedModel) -> dict[str, Any]:
    return {
        "root": model.root,
        "source": model.source,
        "path": str(model.folder),
        "complete_modes": [
            {"mode": mode.mode, "include": mode.include, "exclude": mode.exclude} for mode in model.modes
        ],
        "files": len(model.files),
        "bytes": model.size,
        "partial_bytes": model.partial_bytes,
        "verified_by": dict(sorted(model.verified.items())),
        "fetched_at": model.fetched_at,
        "used_at": model.used_at,
    }
