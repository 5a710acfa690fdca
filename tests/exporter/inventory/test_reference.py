from pathlib import Path

import pytest

from exporter.inventory.reference import kinds_table, sources_table

PAGE = Path(__file__).parents[3] / "docs/inventory.md"


@pytest.mark.parametrize("table", [kinds_table(), sources_table()], ids=["kinds", "sources"])
def test_the_page_shows_the_registry_as_it_is(table: str) -> None:
    assert table in PAGE.read_text(), "renew it: python -m exporter.inventory.reference"
