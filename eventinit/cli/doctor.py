"""``eventinit doctor``: what killed starts have left on this machine and on a cluster, and its removal."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import anyio
from anyio import to_thread

from eventinit.cli.columns import age_text, bytes_text, columns
from eventinit.leftovers import Leftover, cluster_groups, left_here

LEFT = 1

_HEADINGS = ("KIND", "NAME", "STATE", "SIZE", "AGE", "OWNER", "NOTE")
_STATES = {True: "in use", False: "left", None: "unknown"}


def add_doctor_words(commands: Any, everywhere: argparse.ArgumentParser) -> None:
    """Add ``doctor`` to the commands of the command line."""
    told = "list what killed starts have left; exit status 1 if there is anything"
    words = commands.add_parser("doctor", parents=[everywhere], help=told)
    words.add_argument("--address", metavar="ADDRESS", help="look at this Ray cluster too (RAY_ADDRESS)")
    words.add_argument("--clean", action="store_true", help="remove what nobody uses any more")
    words.add_argument("--json", action="store_true", help="for programs")
    words.set_defaults(command=doctor)


def doctor(words: argparse.Namespace) -> int:
    """Print what starts have on this machine and the cluster. Return 1 if something is left, else 0."""
    return anyio.run(_doctor, words)


async def _doctor(words: argparse.Namespace) -> int:
    async with cluster_groups(words.address) as groups:
        found = [*(groups or ()), *await to_thread.run_sync(lambda: list(left_here()))]
        left = [each for each in found if each.is_left]
        (_show_json if words.json else _show)(found, is_connected=groups is not None)
        if words.clean:
            left = await to_thread.run_sync(lambda: _clean(left))
    return LEFT if left else 0


def _clean(left: Iterable[Leftover]) -> list[Leftover]:
    """Remove what is left and return what is left then."""
    still: list[Leftover] = []
    for each in left:
        problem = each.remove()
        if problem:
            still.append(each)
        # Standard output may be JSON.
        print(f"{f'kept ({problem})' if problem else 'removed'}: {each.kind} {each.name}", file=sys.stderr)
    return still


def _show(found: Sequence[Leftover], *, is_connected: bool) -> None:
    where = "this machine and the Ray cluster" if is_connected else "this machine; no Ray address was given"
    if not found:
        print(f"nothing is left (looked at {where})")
        return
    print(columns([_HEADINGS, *map(_row, found)]))
    left = sum(each.is_left for each in found)
    print(f"\n{left} left by starts that have ended (looked at {where})", end="")
    print("; --clean removes them" if left else "")
    if any(each.in_use is None for each in found):
        print("unknown: the owner is on another machine, in another container or before a reboot; remove it by hand")


def _row(each: Leftover) -> tuple[str, ...]:
    return (
        each.kind,
        each.name,
        _STATES[each.in_use],
        "-" if each.size is None else bytes_text(each.size),
        "-" if each.age_s is None else age_text(each.age_s),
        "-" if each.owner is None else f"process {each.owner.pid} on {each.owner.host}, start {each.owner.start_id}",
        each.note,
    )


def _show_json(found: Sequence[Leftover], *, is_connected: bool) -> None:
    said = {"cluster": is_connected, "found": [_as_dict(each) for each in found]}
    print(json.dumps(said, indent=2))


def _as_dict(each: Leftover) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "name": each.name,
        "state": _STATES[each.in_use],
        "bytes": each.size,
        "age_s": each.age_s,
        "owner": None if each.owner is None else asdict(each.owner),
        "note": each.note,
    }
