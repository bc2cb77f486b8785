"""What is built and installed: every package once, under eventinit, with its licence and its type marker."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = {"events": "eventinit.events", "handlers": "eventinit.handlers"}


def setuptools_table() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["tool"]["setuptools"]
    return table


def packages_on_disk() -> list[str]:
    """The dotted name of every folder with an ``__init__.py``; folders behind a symlink count where they really are."""
    found: list[str] = []
    for top in ("eventinit", *MAPPED):
        for init in (ROOT / top).rglob("__init__.py"):
            relative = init.parent.relative_to(ROOT)
            if not any((ROOT / parent).is_symlink() for parent in [relative, *relative.parents]):
                found.append(".".join((MAPPED.get(top, top), *relative.parts[1:])))
    return sorted(found)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is built from it; the work tree is left alone."""
    folder = tmp_path_factory.mktemp("build")
    tree, dist = folder / "tree", folder / "dist"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("eventinit", *MAPPED):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    result = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, cwd=tree)
    assert result.returncode == 0, result.stdout + result.stderr
    return dist


def source_files(folder: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py")}


def test_the_package_list_is_what_is_on_disk() -> None:
    listed = setuptools_table()["packages"]
    assert sorted(listed) == packages_on_disk()
    assert len(listed) == len(set(listed))


def test_the_mapped_packages_are_linked_for_tools_that_read_the_tree() -> None:
    assert setuptools_table()["package-dir"] == {dotted: folder for folder, dotted in MAPPED.items()}
    for folder in MAPPED:
        link = ROOT / "eventinit" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder


@pytest.mark.parametrize(("plain", "dotted"), MAPPED.items())
def test_a_mapped_package_refuses_its_plain_name(plain: str, dotted: str) -> None:
    result = run(sys.executable, "-c", f"import {plain}", cwd=ROOT)
    assert result.returncode == 1
    assert f"ImportError: this folder is installed as {dotted}: import that instead of {plain}" in result.stderr


@pytest.mark.real
def test_the_sdist_holds_every_source_as_a_real_file(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        regular = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    # setuptools puts the mapped packages where their package-dir is.
    expected = source_files("eventinit") | source_files("events") | source_files("handlers")
    behind_links = {name for name in expected if name.startswith(("eventinit/events/", "eventinit/handlers/"))}
    assert (expected - behind_links) | {"eventinit/py.typed", "LICENSE", "README.md", "pyproject.toml"} <= regular


@pytest.mark.real
def test_the_wheel_holds_every_source_once_under_eventinit(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    expected = {
        name if name.startswith("eventinit/") else f"eventinit/{name}"
        for name in source_files("eventinit") | source_files("events") | source_files("handlers")
    }
    assert {name for name in names if name.endswith(".py")} == expected
    assert len(names) == len(set(names))
    assert "eventinit/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.real
def test_the_installed_wheel_imports_its_events(built: Path, tmp_path: Path) -> None:
    """It is imported from where it was installed, although the development environment has an editable install."""
    [wheel] = built.glob("*.whl")
    target = tmp_path / "site"
    installed = run(
        sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=tmp_path
    )
    assert installed.returncode == 0, installed.stderr
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r});"
        "import eventinit.events, eventinit.handlers; print(eventinit.events.__file__, eventinit.handlers.__file__)"
    )
    result = run(sys.executable, "-c", program, cwd=tmp_path)
    expected = [str(target / "eventinit" / name / "__init__.py") for name in ("events", "handlers")]
    assert result.stdout.split() == expected, result.stderr
