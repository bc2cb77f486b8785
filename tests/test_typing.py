"""What the type checkers find in the files of ``typing_cases``: every line with the mark, and nothing else."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

CASES = Path(__file__).parent / "typing_cases"
ROOT = Path(__file__).parents[1]
MARK = "# error"

Lines = dict[str, set[int]]
Checker = Callable[[tuple[str, ...], Path], Lines]


def run(folder: Path, *command: str) -> str:
    """Return what a type checker prints when it is run in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


def mypy(names: tuple[str, ...], folder: Path) -> Lines:
    """Return the lines with errors by the name of the file; the project's settings are strict."""
    output = run(ROOT, "mypy", "--cache-dir", str(folder), *(str(CASES / name) for name in names))
    errors = re.findall(r"^(.+\.py):(\d+): error: ", output, re.MULTILINE)
    return by_file((path, int(line)) for path, line in errors)


def pyright(names: tuple[str, ...], folder: Path) -> Lines:
    """Return the lines with errors by the name of the file; the project's own settings leave these files out."""
    for name in names:
        shutil.copy(CASES / name, folder)
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    report = json.loads(run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable))
    errors = [item for item in report["generalDiagnostics"] if item["severity"] == "error"]
    return by_file((item["file"], int(item["range"]["start"]["line"]) + 1) for item in errors)


def by_file(errors: Iterable[tuple[str, int]]) -> Lines:
    """Return the line numbers of errors by the name of the file."""
    found: Lines = {}
    for path, line in errors:
        found.setdefault(Path(path).name, set()).add(line)
    return found


def marked(path: Path) -> set[int]:
    """Return the numbers of the lines that carry the mark."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith(MARK)}


def check(checker: Checker, folder: Path, *names: str) -> None:
    """Compare what a checker finds in the cases, not in what they import, with the marks in them."""
    found = checker(names, folder)
    assert {name: found.get(name, set()) for name in names} == {name: marked(CASES / name) for name in names}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_every_mistake_is_found_and_what_is_right_is_accepted(checker: Checker, tmp_path: Path) -> None:
    assert len(marked(CASES / "wrong.py")) > 20
    check(checker, tmp_path, "right.py", "wrong.py")
