"""The whole stack, started once for all end-to-end tests."""

from collections.abc import Iterator

import pytest

from lab.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), speed=15) as stack:
        stack.start()
        yield stack
