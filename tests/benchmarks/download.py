"""How fast downloads are, beside other clients of the same server.

    make bench-download   (or: python tests/benchmarks/download.py [--json] [--quick] [--gigabytes N] [--files N])

Prints tables, or one JSON object with every figure. What is slow is said and is no failure. The other clients are in
the extra ``bench``; one that is not installed is left out and named. It needs the server of the extra ``demo``, and
about five times the gigabytes of disk.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.downloads.report import Plan, measure
from tests.benchmarks.downloads.table import as_text
from tests.benchmarks.downloads.task import CASES


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure downloads beside other clients of the same server.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="one round with little: rough figures")
    parser.add_argument("--gigabytes", type=float, help="size of the large files together (2)")
    parser.add_argument("--files", type=int, help="how many small files (10000)")
    parser.add_argument("--rounds", type=int, help="how many rounds (3)")
    parser.add_argument("--case", action="append", choices=CASES, help="measure only this; may be given more than once")
    parser.add_argument("--only", action="append", default=[], help="measure only this contender; likewise")
    options = parser.parse_args(arguments)
    quick = options.quick
    plan = Plan(
        rounds=options.rounds or (1 if quick else 3),
        size=int((options.gigabytes or (0.08 if quick else 2)) * 1e9),
        files=options.files or (100 if quick else 10_000),
        cases=tuple(options.case or CASES),
        only=tuple(options.only),
    )
    report = measure(plan)
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if options.json else as_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
