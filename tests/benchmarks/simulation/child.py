"""The process that one start is simulated in, so that its memory is its own.

    python -m tests.benchmarks.simulation.child NODES DISTRIBUTION

It prints a line of JSON.
"""

import json
import sys
from dataclasses import asdict
from typing import cast

from eventinit.config import Distribution
from tests.benchmarks.simulation.course import simulate
from tests.benchmarks.simulation.hardware import Hardware

FEW = 3


def main(nodes: str, distribution: str) -> None:
    """Simulate a start with few nodes, which imports and fills caches, and then the one that counts."""
    how = cast("Distribution", distribution)
    simulate(FEW, how, Hardware(busy_share=1 / FEW))
    print(json.dumps(asdict(simulate(int(nodes), how, Hardware()))))


if __name__ == "__main__":
    main(*sys.argv[1:])
