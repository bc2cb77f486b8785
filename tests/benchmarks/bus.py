"""How fast the event bus is, beside a plain loop and beside other libraries.

    make bench        (or: python tests/benchmarks/bus.py [--json] [--quick])

Prints tables, or one JSON object with every figure. What is slow is said and is no failure. The other libraries are
in the extra ``bench``; one that is not installed is left out and named.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.report import measure
from tests.benchmarks.rounds import FULL, QUICK
from tests.benchmarks.table import as_text


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the event bus beside a plain loop and other libraries.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--quick", action="store_true", help="take seconds: fewer rounds, rougher figures")
    options = parser.parse_args(arguments)
    report = asyncio.run(measure(QUICK if options.quick else FULL))
    print(json.dumps(report.as_json(), indent=2, ensure_ascii=False) if options.json else as_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
