"""The packages of this checkout."""

from pathlib import Path

import pytest

from lab.packages import built_packages, target_of_this_python
from lab.processes import LabError


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of a build for the system whose Python we run on."""
    try:
        return built_packages(target_of_this_python())
    except LabError as error:
        pytest.skip(str(error))
