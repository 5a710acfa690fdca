"""``leitstand deploy diff``."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from fleet_config.expected import Expected
from fleet_config.output import Files
from leitstand.errors import EXIT_OK, EXIT_WARNINGS
from leitstand.options import config_option, json_option
from leitstand.settings.config import Document, load_document, read
from leitstand.settings.fleet import Fleet
from rollout.apply.plan import files_of_leitstand_host
from rollout.difference.base import BrokenBase, load_base
from rollout.difference.changes import Difference, differences, file_changes, rule_differences
from rollout.difference.text import lines, markdown


@click.command(epilog="Example: leitstand deploy diff --base origin/main --markdown")
@config_option
@click.option(
    "--base", required=True, metavar="REV|FILE", help="Git revision of the same path, or another file."
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a comment for a pull request.")
@json_option
def diff(config_path: Path, base: str, as_markdown: bool, as_json: bool) -> int:
    """Print what would change from another leitstand.yml to this one.

    Shows hosts, services, backups, alerts, targets and rendered files. Works offline: no host is asked, no
    secret is read.

    Exit codes: 0 compared, 1 compared with an invalid base, 2 wrong usage or configuration.
    """
    new = load_document(config_path)
    files = _rendered(new)
    note, old = _base(base, config_path)
    before = _rendered(old) if old else {}
    found = Difference(
        base,
        note,
        {**differences(old.data if old else {}, new.data), **rule_differences(before, files)},
        file_changes(before, files),
    )
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        click.echo(markdown(found) if as_markdown else "\n".join(lines(found)), nl=not as_markdown)
    return EXIT_OK if old or not note.startswith(_BROKEN) else EXIT_WARNINGS


_BROKEN = "the base is invalid"


def _base(base: str, config: Path) -> tuple[str, Document | None]:
    try:
        old = load_base(base, config)
    except BrokenBase as error:
        return f"{_BROKEN}, so everything is listed as new: {error}", None
    return ("" if old else f"{base} has no {config.name}, so everything is new"), old


def _rendered(document: Document) -> Files:
    return files_of_leitstand_host(read(document, Fleet), read(document, Expected))
