"""``eventinit cache fetch``: bring a model to this machine before a start needs it."""

import argparse
import sys
from functools import partial
from typing import final

from eventinit.cli.columns import bytes_text
from eventinit.cli.pace import Pace
from eventinit.cli.until_signal import run_until_signal
from eventinit.config import LLMConfig
from eventinit.downloads import open_source
from eventinit.errors import ConfigError
from eventinit.ports import FetchProgress, union

PROGRESS_INTERVAL_S = 0.5


def fetch(words: argparse.Namespace) -> int:
    """Fetch what a start by the configuration would on any node, and print the model's folder. Return the exit status.

    Handlers and callbacks take no part.

    Raises:
        EventInitError: The configuration is wrong or downloads nothing, or the files cannot be had.
    """
    return run_until_signal(partial(_fetch, LLMConfig.from_yaml(words.config)), _say)


async def _fetch(config: LLMConfig) -> None:
    source = open_source(*config.sources, settings=config.download.settings())
    mode = union(config.local_node_download_model, config.worker_node_download_model)
    if mode == "NONE":
        problem = "NONE, as worker_node_download_model is: there is nothing to fetch; set one of them to another mode"
        raise ConfigError("local_node_download_model", [problem])
    result = await source.fetch(mode, _Progress().show)
    fetched = f"{bytes_text(result.bytes_fetched)} fetched in {result.seconds:.1f} s"
    _say(f"{result.source}, {mode}: {result.files} files, {bytes_text(result.bytes_total)}; {fetched}")
    print(result.path, flush=True)


@final
class _Progress:
    def __init__(self) -> None:
        self._pace = Pace(PROGRESS_INTERVAL_S)

    def show(self, progress: FetchProgress) -> None:
        """Write how far a fetch is, now and then."""
        if not self._pace.is_due():
            return
        done, total = bytes_text(progress.bytes_done), bytes_text(progress.bytes_total)
        _say(f"{done} of {total}, {progress.files_done} of {progress.files_total} files")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
