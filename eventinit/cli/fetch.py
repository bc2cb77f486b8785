"""``eventinit cache fetch``: bring a model to this machine before a start needs it."""

import argparse
import sys
import time
from functools import partial
from typing import final

from eventinit.cli.columns import bytes_text
from eventinit.cli.until_signal import run_until_signal
from eventinit.config import LLMConfig
from eventinit.downloads import open_source
from eventinit.ports import FetchProgress, union

PROGRESS_INTERVAL_S = 0.5


def fetch(words: argparse.Namespace) -> int:
    """Fetch what a start by the configuration would, and print the model's folder. Return the exit status.

    Handlers and callbacks take no part.
    """
    return run_until_signal(partial(_fetch, LLMConfig.from_yaml(words.config)), _say)


async def _fetch(config: LLMConfig) -> None:
    source = open_source(*config.sources, settings=config.download.settings())
    mode = union(config.local_node_download_model, config.worker_node_download_model)
    result = await source.fetch(mode, _Progress().show)
    fetched = f"{bytes_text(result.bytes_fetched)} fetched in {result.seconds:.1f} s"
    _say(f"{result.source}, {mode}: {result.files} files, {bytes_text(result.bytes_total)}; {fetched}")
    print(result.path, flush=True)


@final
class _Progress:
    def __init__(self) -> None:
        self._shown_at = time.monotonic()

    def show(self, progress: FetchProgress) -> None:
        """Write how far a fetch is, now and then."""
        now = time.monotonic()
        if now - self._shown_at < PROGRESS_INTERVAL_S:
            return
        self._shown_at = now
        done, total = bytes_text(progress.bytes_done), bytes_text(progress.bytes_total)
        _say(f"{done} of {total}, {progress.files_done} of {progress.files_total} files")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
