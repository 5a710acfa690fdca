"""The whole stack, started for each file that needs it: at 15 times the speed, it always costs some CPU."""

from collections.abc import Iterator

import pytest

from lab.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), speed=15) as stack:
        stack.start()
        yield stack
