"""What holds for every test, however the run was started."""

import random
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell starts background jobs with SIGINT ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine takes longer for an example: that is no fault. And each run tries the same examples.
settings.register_profile(
    "leitstand", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("leitstand")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", choices=("only", "not"), help="only the tests marked alone, or all others")
    parser.addoption("--shuffle", metavar="SEED", help="the modules, and the tests in each, in random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if choice := config.getoption("alone"):
        unwanted = [item for item in items if bool(item.get_closest_marker("alone")) != (choice == "only")]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in set(unwanted)]
    if seed := config.getoption("shuffle"):
        items[:] = shuffled(items, random.Random(seed))


def shuffled(items: list[pytest.Item], generator: random.Random) -> list[pytest.Item]:
    """Modules stay whole: what their tests share is made once."""
    modules: dict[str, list[pytest.Item]] = {}
    for item in generator.sample(items, len(items)):
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    return [item for module in modules.values() for item in module]
