"""Time limits of tests and the lab: seconds, times a factor for a slow machine."""

import os

VARIABLE = "LEITSTAND_TEST_PATIENCE"


def patient(seconds: float) -> float:
    """``seconds`` on a quiet machine; ``LEITSTAND_TEST_PATIENCE=3`` makes them three times as many."""
    return seconds * float(os.environ.get(VARIABLE) or 1)
