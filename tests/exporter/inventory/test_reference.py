import re
from pathlib import Path

import pytest

from exporter import inventory
from exporter.inventory.fpm import FIGURES
from exporter.inventory.kinds import KINDS
from exporter.inventory.reference import kinds_table, sources_table

PAGE = Path(__file__).parents[3] / "docs/inventory.md"


@pytest.mark.parametrize("table", [kinds_table(), sources_table()], ids=["kinds", "sources"])
def test_the_page_shows_the_registry_as_it_is(table: str) -> None:
    assert table in PAGE.read_text(), "renew it: python -m exporter.inventory.reference"


def test_the_page_names_every_metric_of_the_code_and_no_other() -> None:
    code = Path(inventory.__file__).parent
    written = {
        name for file in code.glob("*.py") for name in re.findall(r'"(leitstand_\w+)"', file.read_text())
    }
    page = PAGE.read_text()
    named = set(re.findall(r"`(leitstand_\w+)", page)) | {
        f"leitstand_inventory_source{suffix}" for suffix in re.findall(r"`…(_\w+)`", page)
    }
    series = {f"leitstand_{kind}_info" for kind in KINDS}
    pools = {name for name, _, _ in FIGURES.values()} | {"leitstand_php_fpm_max_children"}
    assert named - (series - written) - {"leitstand_", "leitstand_php_fpm_"} == written - pools
