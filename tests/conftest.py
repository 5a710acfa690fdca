"""What holds for every test, however the run was started."""

import gc
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A shell starts background jobs with SIGINT ignored, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine takes longer for an example: that is no fault. And each run tries the same examples.
settings.register_profile(
    "leitstand", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("leitstand")

ROOT = Path(__file__).parent
COUNTED = {"leitstand", "orchestrator", "fleet_inventory", "fleet_config"}


@pytest.fixture(autouse=True)
def no_file_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """What runs for months must close what it opens. Not in rooms whose tests leave readers hanging."""
    if request.path.relative_to(ROOT).parts[0] not in COUNTED:
        yield
        return
    before = open_files()
    yield
    if open_files() - before:
        gc.collect()
    assert not (left := open_files() - before), f"left open: {sorted(left.elements())}"


def open_files() -> Counter[str]:
    """The files and folders that this process has open, but for logs of servers that several tests share."""
    found: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found[str(link.readlink())] += 1
    return Counter(
        {name: number for name, number in found.items() if re.match("/(?!dev/|proc/|.*/log$)", name)}
    )


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
