"""How many examples the property tests try."""

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("EVENTINIT_PROPERTY_EXAMPLES", "1"))
"""How many times the usual number; from 2 on the examples are new ones in each run."""


def examples(count: int) -> settings:
    """Return the settings of a test that tries ``count`` examples, always the same ones unless asked for more."""
    return settings(
        max_examples=count * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
