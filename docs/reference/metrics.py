"""metrics.md: every metric of the exporter that node_exporter does not have."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.registry import Collector

import exporter
from exporter.collectors.options import Options
from exporter.collectors.own import OwnProcess
from exporter.exposition import Family
from exporter.inventory.kinds import KINDS
from exporter.roots import NoData

ROOM = Path(exporter.__file__).parent
MADE = "<!-- Made by docs/reference/generate.py from the code; change that. -->\n\n"

Metric = tuple[str, str, str, str]  # name, kind, labels, explanation


def metrics_page() -> str:
    """Every metric of the exporter that node_exporter does not have."""
    live = [*literals(ROOM / "web/app.py"), *collected(OwnProcess(Options()))]
    inventory = {
        metric for source in sorted((ROOM / "inventory").glob("*.py")) for metric in literals(source)
    }
    items = [
        (f"leitstand_{name}_info", "gauge", ", ".join(kind.labels), kind.help) for name, kind in KINDS.items()
    ]
    return "".join(
        [
            MADE,
            "# The exporter's own metrics\n\n",
            "What node_exporter has is in [node-exporter.md](node-exporter.md), the inventory's meaning in\n",
            "[inventory.md](../inventory.md).\n\n",
            "## The exporter itself, in `/metrics`\n\n",
            metric_table(sorted(set(live))),
            "\nThe verdicts on collectors are `node_scrape_collector_…`; with `--no-node-metrics` they are\n"
            "`leitstand_scrape_collector_success` and `leitstand_scrape_collector_duration_seconds`.\n"
            "`node_scrape_collector_skipped_entries_total` (or `leitstand_…`) is ours: it counts the lines\n"
            "and other entries that a collector did not understand and left out. Such an entry costs itself\n"
            "and no neighbour; the log shows the first of each list.\n\n",
            "## Inventory, in `/metrics`\n\n",
            metric_table(sorted(metric for metric in inventory if metric[0].startswith("leitstand_"))),
            "\nEach pool of PHP-FPM adds the figures of its status page as `leitstand_php_fpm_…`.\n\n",
            "## Inventory, in `/metrics/inventory`: one series per item, always 1\n\n",
            metric_table(sorted(items)),
        ]
    )


def collected(collector: Collector) -> list[Metric]:
    """What a collector gives, by name."""
    try:
        families = [family for family in collector.collect() if isinstance(family, Family)]
    except NoData:
        return []
    return sorted(
        (family.full_name, family.kind, ", ".join(family.label_names), family.documentation)
        for family in families
        if family.rows or family.ready
    )


def literals(source: Path) -> Iterator[Metric]:
    """The metrics whose name stands as a literal in a call of Family, Metric, gauge or counter."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            name = _text(node.args[0])
            if node.func.id in ("Family", "Metric") and name and len(node.args) > 2:
                labels = _labels(node.args[3]) if len(node.args) > 3 else ""
                yield name, _text(node.args[1]), labels, _text(node.args[2])
            elif node.func.id in ("gauge", "counter") and name:
                yield name, node.func.id, "", _text(node.args[1])


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _labels(node: ast.expr) -> str:
    return ", ".join(map(_text, node.elts)) if isinstance(node, ast.Tuple) else ""


def metric_table(metrics: Iterable[Metric]) -> str:
    rows = [
        f"| `{name}` | {kind} | {labels} | {explanation} |\n" for name, kind, labels, explanation in metrics
    ]
    return "".join(["| metric | type | labels | meaning |\n|---|---|---|---|\n", *rows])
