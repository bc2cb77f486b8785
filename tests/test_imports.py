"""Imports point one way, heavy packages are imported late, and a few packages have one importer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A group may import itself and what is written after it; `nothing else` is the rule.
LEAVES = frozenset(
    {
        "author",
        "background",
        "cancellation",
        "change",
        "clock",
        "errors",
        "event",
        "frozen",
        "home_loop",
        "joining",
        "latest",
        "logs",
        "own_thread",
        "owner",
        "ports",
        "redaction",
        "suggestion",
        "threads",
        "timeline",
        "undo",
        "veto",
    }
)
CONFIG = LEAVES | {"config", "config_file", "dotted_path", "section"}
BUS = LEAVES | {
    "announcements",
    "attachment",
    "bus",
    "emitter",
    "handler",
    "handler_call",
    "hooks",
    "lane",
    "marks",
    "observers",
    "outcome",
    "plan",
    "receivers",
    "registry",
    "serving",
    "signals",
    "streams",
    "subscription",
}
CONTEXT = CONFIG | {"context", "journal", "writers"}
EVENTS = CONTEXT | {"events"}
NODES = EVENTS | BUS | {"callback", "luggage", "node_download"}
PHASES = NODES | {"phases", "start"}
INITIALIZER = PHASES | {"backends", "initializer", "node"}
CLI = INITIALIZER | {"cli", "downloads", "leftovers", "preload", "testing", "public surface"}

ALLOWED: dict[str, frozenset[str]] = {
    **dict.fromkeys(LEAVES, LEAVES),
    **dict.fromkeys(CONFIG - LEAVES, CONFIG),
    **dict.fromkeys(BUS - LEAVES, BUS),
    **dict.fromkeys(CONTEXT - CONFIG, CONTEXT),
    "events": EVENTS,
    "luggage": EVENTS | BUS,
    "node_download": NODES,
    "start": EVENTS | BUS,
    "phases": PHASES,
    "downloads": LEAVES | {"downloads"},
    "backends": LEAVES | {"backends", "downloads"},
    "leftovers": LEAVES | {"backends", "downloads", "leftovers"},
    "preload": LEAVES | {"backends"},
    "testing": EVENTS | BUS | {"testing"},
    "callback": BUS | CONFIG | {"callback"},
    "node": EVENTS | BUS | {"node"},
    "initializer": INITIALIZER,
    "public surface": INITIALIZER | {"preload"},
    "cli": CLI,
    "__main__": CLI,
    "handlers": CLI - {"initializer", "cli", "public surface"} | {"handlers"},
}
"""What each module or package of eventinit may import from it; a new one gets a row, or a name in a group."""

BLINKER = {"bus", "receivers", "signals"}
ASYNCIO = {"backends", "background", "cancellation", "downloads", "home_loop"}
HEAVY = ("ray", "vllm", "torch", "transformers", "huggingface_hub")


def sources() -> dict[str, Path]:
    """Every module of the package by its dotted name without ``eventinit.``, each file once."""
    folders = {"eventinit": "", "events": "events.", "handlers": "handlers."}
    found: dict[str, Path] = {}
    for folder, prefix in folders.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "eventinit" and parts[0] in {"events", "handlers"}:
                continue  # reached through a symlink
            found[(prefix + ".".join(part for part in parts if part != "__init__")).rstrip(".")] = path
    return found


def imported(path: Path) -> set[str]:
    """The dotted names of everything that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def owner(module: str) -> str:
    """The row of the table that a module is under."""
    return module.partition(".")[0] or "public surface"


def owners_imported(path: Path) -> set[str]:
    rows = {owner(name) for name in SOURCES}
    tails = [name.removeprefix("eventinit.") for name in imported(path) if name.startswith("eventinit.")]
    return {owner(tail) if owner(tail) in rows else "public surface" for tail in tails}


SOURCES = sources()


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_module_imports_only_what_lies_below_it(module: str) -> None:
    row = owner(module)
    assert row in ALLOWED, f"place eventinit.{module} in the table of {Path(__file__).name}: what may it import?"
    wrong = owners_imported(SOURCES[module]) - ALLOWED[row] - {row}
    assert not wrong, f"eventinit.{module} must not import {sorted(wrong)}: imports point one way"


def test_every_row_of_the_table_is_a_module() -> None:
    assert set(ALLOWED) <= {owner(module) for module in SOURCES}


def test_nothing_imports_the_handlers() -> None:
    assert not [name for name in SOURCES if owner(name) != "handlers" and "handlers" in owners_imported(SOURCES[name])]


@pytest.mark.parametrize(("package", "importers"), [("blinker", BLINKER), ("asyncio", ASYNCIO)])
def test_a_package_is_imported_only_where_it_belongs(package: str, importers: set[str]) -> None:
    def imports_it(path: Path) -> bool:
        return any(name.partition(".")[0] == package for name in imported(path))

    assert {owner(module) for module, path in SOURCES.items() if imports_it(path)} <= importers


def test_importing_eventinit_imports_nothing_heavy() -> None:
    program = (
        "import sys, eventinit, eventinit.events, eventinit.testing;"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.split(), found.stderr) == (0, [], "")
