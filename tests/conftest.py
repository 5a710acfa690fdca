"""What holds for every test, however the run was started."""

import signal

from hypothesis import HealthCheck, settings

# A shell starts background jobs with SIGINT ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine takes longer for an example: that is no fault. And each run tries the same examples.
settings.register_profile(
    "leitstand", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("leitstand")
