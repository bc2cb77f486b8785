"""The words of the command line, and what becomes of errors."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from eventinit.cli.cache import add_cache_words
from eventinit.cli.catalogue import show_events
from eventinit.cli.check import check
from eventinit.cli.doctor import add_doctor_words
from eventinit.cli.run import run
from eventinit.errors import EventInitError

FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``eventinit`` command and return its exit status: 0, 1 after an error, 128 + n after signal n."""
    words = _parser().parse_args(argv)
    _prepare_process(debug=words.debug)
    command: Callable[[argparse.Namespace], int] = words.command
    try:
        return command(words)
    except EventInitError as error:
        _show_error(error, debug=words.debug)
        return FAILED
    except BrokenPipeError:  # whoever read our output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eventinit", description="Start LLM inference nodes: vLLM on Ray.")
    parser.set_defaults(debug=False)
    # Before and after the command: whoever reads of it in an error adds it to the end of the line.
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for words in (parser, everywhere):
        words.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show tracebacks, and the logs of eventinit and vLLM",
        )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    starts = commands.add_parser("run", parents=[everywhere], help="start a node and show how it goes")
    starts.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file with the fields of LLMConfig")
    starts.add_argument("--prompt", metavar="TEXT", help="print the answer to this and stop; else run until Ctrl-C")
    starts.add_argument("--explain", action="store_true", help="show who changed, overrode or vetoed what")
    starts.set_defaults(command=_run)

    told = "show what a configuration would do, and start nothing"
    checks = commands.add_parser("check", parents=[everywhere], help=told)
    checks.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file with the fields of LLMConfig")
    checks.set_defaults(command=_check)

    told = "list the events: when each fires, what can be vetoed or changed"
    lists = commands.add_parser("events", parents=[everywhere], help=told)
    lists.set_defaults(command=_show_events)

    add_cache_words(commands, everywhere)
    add_doctor_words(commands, everywhere)
    return parser


def _run(words: argparse.Namespace) -> int:
    return run(words.config, words.prompt, explain=words.explain)


def _check(words: argparse.Namespace) -> int:
    return check(words.config)


def _show_events(_words: argparse.Namespace) -> int:
    return show_events()


def _prepare_process(*, debug: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    if not debug:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    # A configuration names classes of modules beside it, as with `python -m`.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _show_error(error: EventInitError, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
        return
    print(f"eventinit: {error}", file=sys.stderr)
    for other in error.also:
        print(f"  also: {type(other).__name__}: {other}", file=sys.stderr)
    print("  (--debug shows the traceback)", file=sys.stderr)
