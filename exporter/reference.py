"""Writes docs/reference/node-exporter.md and metrics.md: ``python -m exporter.reference LISTING FOLDER``.

LISTING describes a host with all hardware (tests/exporter/collectors/hardware.tree); what the collectors
say of it are the names in the pages, so that they do not depend on the machine they are made on.
``--check`` only compares.
"""

import ast
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from exporter.collectors import COLLECTORS
from exporter.collectors.collector import Collector, NoData, Roots
from exporter.collectors.options import Options
from exporter.collectors.systemd import CONNECTIONS
from exporter.inventory.kinds import KINDS
from exporter.reference_notes import DIFFERENCES, NOT_SERVED, NOT_SERVED_LATER

ROOM = Path(__file__).parent
_MADE = "<!-- Made by `python -m exporter.reference`; do not edit. -->\n\n"

Metric = tuple[str, str, str, str]  # name, kind, labels, explanation


def main(arguments: list[str]) -> int:
    """0 when the pages are as they should be, 1 when ``--check`` finds a stale one, 2 for wrong arguments."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if len(paths) != 2:
        sys.stderr.write("usage: python -m exporter.reference [--check] LISTING FOLDER\n")
        return 2
    stale = []
    for name, text in pages(paths[0]).items():
        page = paths[1] / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                page.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{name} {'is stale' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


def pages(listing: Path) -> dict[str, str]:
    """The text of each page."""
    served = served_metrics(listing)
    return {"node-exporter.md": node_exporter_page(served), "metrics.md": metrics_page()}


def served_metrics(listing: Path) -> dict[str, list[Metric]]:
    """The node_* metrics of each collector, on the host that the listing describes."""
    with tempfile.TemporaryDirectory() as folder:
        roots = host_of(listing, Path(folder))
        options = Options(textfile_directory=(str(roots.root / "textfile"),))
        found = {
            name: [
                metric for metric in collected(entry.build(roots, options)) if metric[0].startswith("node_")
            ]
            for name, entry in COLLECTORS.items()
            if name not in ("systemd", "own")
        }
    # Nobody answers there for systemd: its names stand in its source.
    systemd = [metric for metric in literals(ROOM / "collectors/systemd.py") if metric[0].startswith("node_")]
    systemd += [(f"node_systemd_socket_{name}", kind, "name", what) for _, name, kind, what in CONNECTIONS]
    return dict(sorted({**found, "systemd": sorted(systemd)}.items()))


def host_of(listing: Path, folder: Path) -> Roots:
    """Write the listing's files below ``folder``: a line ``@ path`` stands before the lines of each."""
    for part in listing.read_text(encoding="utf-8").split("@ ")[1:]:
        path, _, content = part.partition("\n")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    (folder / "root/srv").mkdir(exist_ok=True)
    return Roots(folder / "proc", folder / "sys", folder / "root")


def collected(collector: Collector) -> list[Metric]:
    """What a collector gives, by name."""
    try:
        families = list(collector.collect())
    except NoData:
        return []
    return sorted(
        (family.name, family.kind, ", ".join(family.label_names), family.documentation)
        for family in families
        if family.samples or family.ready
    )


def literals(source: Path) -> Iterator[Metric]:
    """The metrics whose name stands as a literal in a call of Family, gauge or counter."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            name = _text(node.args[0])
            if node.func.id == "Family" and name and len(node.args) > 2:
                labels = _labels(node.args[3]) if len(node.args) > 3 else ""
                yield name, _text(node.args[1]), labels, _text(node.args[2])
            elif node.func.id in ("gauge", "counter") and name:
                yield name, node.func.id, "", _text(node.args[1])


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _labels(node: ast.expr) -> str:
    return ", ".join(map(_text, node.elts)) if isinstance(node, ast.Tuple) else ""


def node_exporter_page(served: Mapping[str, list[Metric]]) -> str:
    """What of node_exporter is served, what is not, and why."""
    parts = [
        _MADE,
        "# What of node_exporter is served\n\n"
        "Names, labels, types and values are node_exporter's; a test runs Debian's node_exporter 1.5.0\n"
        "beside ours and compares. `--collector.NAME` and `--no-collector.NAME` switch each collector.\n\n",
        "## Where we differ\n\n",
        *(f"{_item(difference)}\n" for difference in DIFFERENCES),
        "\n## Not served\n\n| collector | on by default there | why not |\n|---|---|---|\n",
        *(
            f"| {name} | {'yes' if on else 'no'} | {why} |\n"
            for name, (on, why) in sorted({**NOT_SERVED, **NOT_SERVED_LATER}.items())
        ),
        "\n## Served\n\n",
    ]
    for name, metrics in served.items():
        off = "" if COLLECTORS[name].is_default else " (off unless `--collector." + name + "`)"
        parts += [f"### {name}: {COLLECTORS[name].summary}{off}\n\n", _table(metrics), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def metrics_page() -> str:
    """Every metric of the exporter that node_exporter does not have."""
    live = [*literals(ROOM / "web/app.py"), *literals(ROOM / "collectors/own.py")]
    inventory = {
        metric for source in sorted((ROOM / "inventory").glob("*.py")) for metric in literals(source)
    }
    items = [
        (f"leitstand_{name}_info", "gauge", ", ".join(kind.labels), kind.help) for name, kind in KINDS.items()
    ]
    return "".join(
        [
            _MADE,
            "# The exporter's own metrics\n\n",
            "What node_exporter has is in [node-exporter.md](node-exporter.md), the inventory's meaning in\n",
            "[inventory.md](../inventory.md).\n\n",
            "## The exporter itself, in `/metrics`\n\n",
            _table(sorted(set(live))),
            "\nThe verdicts on collectors are `node_scrape_collector_…`; with `--no-node-metrics` they are\n"
            "`leitstand_scrape_collector_success` and `leitstand_scrape_collector_duration_seconds`.\n"
            "`node_scrape_collector_skipped_entries_total` (or `leitstand_…`) is ours: it counts the lines\n"
            "and other entries that a collector did not understand and left out. Such an entry costs itself\n"
            "and no neighbour; the log shows the first of each list.\n\n",
            "## Inventory, in `/metrics`\n\n",
            _table(sorted(metric for metric in inventory if metric[0].startswith("leitstand_"))),
            "\nEach pool of PHP-FPM adds the figures of its status page as `leitstand_php_fpm_…`.\n\n",
            "## Inventory, in `/metrics/inventory`: one series per item, always 1\n\n",
            _table(sorted(items)),
        ]
    )


def _item(text: str) -> str:
    return textwrap.fill(
        text, 100, initial_indent="* ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _table(metrics: Iterable[Metric]) -> str:
    rows = [
        f"| `{name}` | {kind} | {labels} | {explanation} |\n" for name, kind, labels, explanation in metrics
    ]
    return "".join(["| metric | type | labels | meaning |\n|---|---|---|---|\n", *rows])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
