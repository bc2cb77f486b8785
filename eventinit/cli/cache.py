"""``eventinit cache``: which models are kept on this machine, whether they are whole, and which may come or go."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eventinit.cli.cache_text import as_json, table, where
from eventinit.cli.columns import bytes_text
from eventinit.cli.fetch import fetch
from eventinit.cli.pace import Pace
from eventinit.downloads.cache_check import CheckedModel, check_model
from eventinit.downloads.cache_inventory import chosen, inventory
from eventinit.downloads.cache_prune import Removal, remove_leftovers, remove_model, remove_partials
from eventinit.downloads.cached_model import CachedModel
from eventinit.errors import ConfigError, DownloadError

DAMAGED = 1
PROGRESS_BYTES = 500_000_000
"""From this size on the reading of a model is worth showing."""

_PROGRESS_INTERVAL_S = 1.0
_DAY_S = 86400.0


def add_cache_words(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add ``cache`` with its own commands to those of the command line."""
    cache = commands.add_parser("cache", parents=[everywhere], help="fetch, list, verify or prune the models kept here")
    kinds = cache.add_subparsers(required=True, metavar="COMMAND")

    lists = kinds.add_parser("list", parents=[everywhere], help="list the models with sizes, age and source")
    lists.add_argument("--json", action="store_true", help="for programs")
    lists.set_defaults(command=show_models)

    told = "fetch what a start by a configuration would, and print the model's folder"
    fetches = kinds.add_parser("fetch", parents=[everywhere], help=told)
    fetches.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file with the fields of LLMConfig")
    fetches.set_defaults(command=fetch)

    told = "hash what is there and compare it with what was recorded; exit status 1 if anything is damaged"
    checks = kinds.add_parser("verify", parents=[everywhere], help=told)
    checks.add_argument("models", nargs="*", metavar="SOURCE|PATH", help="which models; all by default")
    checks.add_argument(
        "--repair", action="store_true", help="remove damaged files, so that the next start fetches them again"
    )
    checks.set_defaults(command=verify)

    told = "remove models; without any option only say what could be removed"
    prunes = kinds.add_parser("prune", parents=[everywhere], help=told)
    prunes.add_argument("--older-than", type=float, metavar="DAYS", help="only what was last used so long ago")
    prunes.add_argument("--source", action="append", default=[], metavar="SOURCE", help="only this model; repeatable")
    prunes.add_argument("--partials", action="store_true", help="only what unfinished downloads have left")
    prunes.add_argument("--all", action="store_true", help="every model")
    prunes.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    prunes.set_defaults(command=prune)


def show_models(words: argparse.Namespace) -> int:
    """Print every model in the caches. Return 0."""
    models = inventory()
    print(as_json(models) if words.json else table(models, time.time()))
    return 0


def verify(words: argparse.Namespace) -> int:
    """Print for each model what was compared and what is damaged. Return 1 if anything is, else 0."""
    found = 0
    models = chosen(inventory(), words.models)
    if not models:
        print(table(models, time.time()))
    for model in models:
        checked = check_model(model, repair=words.repair, hashed=_Progress(model).add)
        _show_checked(checked, repair=words.repair)
        found += len(checked.damaged)
    if found and not words.repair:
        print("\nnothing was removed; with --repair the next start fetches damaged files again")
    return DAMAGED if found else 0


def prune(words: argparse.Namespace) -> int:
    """Remove the models that the words choose and print each. Return 1 if the disk refused one, else 0."""
    models = _to_prune(words)
    if not (words.all or words.partials or words.source or words.older_than is not None):
        return _show_ways(models)
    remove = remove_partials if words.partials else remove_model
    if words.partials:
        models = [model for model in models if model.root == "eventinit"]
    total, refusals = 0, 0
    for model in models:
        try:
            removal = remove(model, dry_run=words.dry_run)
        except DownloadError as error:
            print(f"eventinit: {error}", file=sys.stderr)
            refusals += 1
            continue
        _show_removal(removal, words)
        total += removal.freed_bytes
    if left := remove_leftovers(dry_run=words.dry_run):
        print(f"{_verb(words)} what an interrupted prune had left: {bytes_text(left)}")
    print(f"{_verb(words)} {bytes_text(total + left)} in all ({total + left} bytes)")
    return DAMAGED if refusals else 0


def _to_prune(words: argparse.Namespace) -> list[CachedModel]:
    if words.all and (words.source or words.older_than is not None):
        raise ConfigError("--all", ["stands for every model; leave it out to choose with --source or --older-than"])
    if words.older_than is not None and not words.older_than >= 0:
        raise ConfigError("--older-than", [f"takes a number of days from 0 on, not {words.older_than:g}"])
    models = chosen(inventory(), words.source)
    if words.older_than is None:
        return models
    # What others manage is not ours to call old; only who names it is told how to remove it.
    before = time.time() - words.older_than * _DAY_S
    return [model for model in models if model.used_at <= before and (model.root == "eventinit" or words.source)]


def _show_ways(models: Sequence[CachedModel]) -> int:
    ours = [model for model in models if model.root == "eventinit"]
    partial = sum(model.partial_bytes for model in ours)
    total = sum(model.size for model in ours) + partial
    print(table(ours, time.time()))
    print(f"\nNothing was removed. These {len(ours)} model(s) take {bytes_text(total)}. Choose:")
    print(f"  --partials            what unfinished downloads have left ({bytes_text(partial)})")
    print("  --older-than DAYS     models that were last used so long ago")
    print("  --source SOURCE       one model; repeatable")
    print(f"  --all                 every model ({bytes_text(total)})")
    print("  --dry-run             with any of these: only say what would be removed")
    return 0


def _show_removal(removal: Removal, words: argparse.Namespace) -> None:
    what = "partial files of " if words.partials else ""
    if removal.kept_because:
        print(f"kept {removal.model.source}: {removal.kept_because}")
    elif removal.freed_bytes or not words.partials:
        print(f"{_verb(words)} {what}{removal.model.source}: {bytes_text(removal.freed_bytes)}")


def _verb(words: argparse.Namespace) -> str:
    return "would remove" if words.dry_run else "removed"


def _show_checked(checked: CheckedModel, *, repair: bool) -> None:
    by = ", ".join(f"{count} by {kind}" for kind, count in sorted(checked.compared.items())) or "no complete file"
    size_only = " alone, since the store had no checksum" if "size" in checked.compared else ""
    state = f"{len(checked.damaged)} damaged" if checked.damaged else "all right"
    print(f"{checked.model.source}  ({where(checked.model)})\n  {state}: {by}{size_only}")
    for name, problem in checked.damaged.items():
        print(f"  {name} {problem}{'; the next start fetches it again' if repair else ''}")
    for name in checked.busy:
        print(f"  {name} is being fetched at this moment and was not checked")


class _Progress:
    """Tells on standard error how much of a large model was read."""

    def __init__(self, model: CachedModel) -> None:
        self._model = model
        self._done = 0
        self._pace = Pace(_PROGRESS_INTERVAL_S)

    def add(self, count: int) -> None:
        self._done += count
        if self._model.size < PROGRESS_BYTES or not self._pace.is_due():
            return
        done, total = bytes_text(self._done), bytes_text(self._model.size)
        print(f"{self._model.source}: {done} of {total} read", file=sys.stderr, flush=True)
