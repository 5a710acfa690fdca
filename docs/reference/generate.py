#!/usr/bin/env python3
"""Write the pages, schema and dashboards that are made from the code; with --check only say which are stale.

Run with the project's Python: .venv/bin/python docs/reference/generate.py
"""

import sys
from pathlib import Path

import click

from docs.reference.commands import commands_page
from docs.reference.configuration import configuration_page
from docs.reference.inventory import inventory_page
from docs.reference.metrics import metrics_page
from docs.reference.node_exporter import node_exporter_page, served_metrics
from fleet_config.output import json_text, write_files
from grafana.source import DASHBOARDS
from leitstand.settings.config import owners
from leitstand.settings.schema import json_schema

ROOT = Path(__file__).parents[2]


def pages() -> dict[str, str]:
    """Path in the project and text of everything that is made from the code."""
    schema = json_schema(owners())
    return {
        "docs/reference/leitstand.schema.json": json_text(schema),
        "docs/reference/configuration.md": configuration_page(schema),
        "docs/reference/commands.md": commands_page(),
        "docs/reference/metrics.md": metrics_page(),
        "docs/reference/node-exporter.md": node_exporter_page(served_metrics()),
        "docs/inventory.md": inventory_page((ROOT / "docs/inventory.md").read_text(encoding="utf-8")),
        **{f"grafana/dashboards/{path}": json_text(build()) for path, build in DASHBOARDS.items()},
    }


def stale(root: Path, files: dict[str, str]) -> list[str]:
    """The paths below ``root`` that are missing or differ."""
    return [
        path
        for path, text in files.items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when a file is stale.")
@click.option("--root", type=click.Path(path_type=Path), default=ROOT, help="Another folder to write to.")
def main(check: bool, root: Path) -> None:
    """Write the files that are made from the code."""
    files = pages()
    found = stale(root, files)
    for path in found:
        click.echo(f"{'stale' if check else 'written'}: {path}")
    if check:
        sys.exit(1 if found else 0)
    write_files(root, files)


if __name__ == "__main__":
    main()
