import re
from pathlib import Path

from exporter import inventory
from exporter.inventory.fpm import FIGURES
from exporter.inventory.kinds import KINDS

PAGE = Path(__file__).parents[3] / "docs/inventory.md"


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
