"""``leitstand suggest``."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from fleet_config.expected import Expected
from fleet_config.settings import DeploySettings
from fleet_inventory.cli import database_option
from fleet_inventory.completion import configured_hosts
from fleet_inventory.database import open_database
from leitstand.errors import EXIT_OK, EXIT_WARNINGS, UsageError
from leitstand.options import config_option, json_option
from leitstand.settings.config import load_document, read
from leitstand.settings.document import Document
from leitstand.settings.fleet import Fleet
from leitstand.tables import table
from rollout.suggest.looks import looks
from rollout.suggest.metrics import write_metrics
from rollout.suggest.suggestion import Suggestion, suggest
from rollout.suggest.thing import Thing
from rollout.suggest.write import add_to_file
from rollout.suggest.yaml_entries import section_text


@click.command(
    "suggest",
    epilog="""Examples:

\b
  leitstand suggest
  leitstand suggest web1 --write
""",
)
@config_option
@database_option
@json_option
@click.option("--write", is_flag=True, help="Add the entries to leitstand.yml; nothing else of it changes.")
@click.option("--metrics", is_flag=True, help="Write what is uncovered as a textfile, for alerts.")
@click.argument("names", nargs=-1, metavar="[HOST]...", shell_complete=configured_hosts)
def suggest_command(
    config_path: Path, database_path: Path, as_json: bool, write: bool, metrics: bool, names: tuple[str, ...]
) -> int:
    """Find what runs on the hosts and is neither watched nor backed up; propose entries for it.

    Compares the pulled inventories with leitstand.yml: virtual hosts with services; web applications,
    databases, mail and volumes of containers with backup jobs. deploy.exceptions in leitstand.yml lists what
    is left out, with the reason.

    Exit codes: 0 nothing to add, 1 something is uncovered or unknown, 2 wrong usage or configuration, 3
    failed.
    """
    document = load_document(config_path)
    fleet = read(document, Fleet)
    if metrics and names:
        raise UsageError("--metrics is about all hosts", "leave out the names")
    made = look_at(document, fleet, database_path, hosts_of(fleet, names))
    if metrics:
        write_metrics(fleet.paths.metrics, made, list(fleet.hosts), time.time())
    show(made, as_json)
    for key in made.without_object:
        click.echo(f"warning: deploy.exceptions: '{key}': there is no such thing; remove the line", err=True)
    if write and made.entries:
        add_to_file(config_path, document, made.entries)
        click.echo(
            f"{config_path}: {len(made.entries)} entries added; read them, then: leitstand check", err=True
        )
    left = made.refused or made.left_out or not write
    return EXIT_WARNINGS if made.unknown or (made.uncovered and left) else EXIT_OK


def hosts_of(fleet: Fleet, names: Iterable[str]) -> list[str]:
    """The hosts that are meant. Raises UsageError for one that is not in leitstand.yml."""
    for name in names:
        if name not in fleet.hosts:
            raise UsageError(
                f"no host {name!r} in leitstand.yml", f"there are: {', '.join(sorted(fleet.hosts))}"
            )
    return list(dict.fromkeys(names)) or list(fleet.hosts)


def look_at(document: Document, fleet: Fleet, database_path: Path, hosts: list[str]) -> Suggestion:
    """Compare what the database knows of these hosts with the file."""
    expected = read(document, Expected)
    with open_database(database_path) as database:
        known = looks(database, fleet.hosts, time.time())
    exceptions = read(document, DeploySettings).deploy.exceptions
    return suggest(document, fleet, expected, exceptions, known, hosts)


def show(made: Suggestion, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        click.echo(json.dumps(as_object(made), indent=2, ensure_ascii=False))
        return
    for host, what in made.unknown.items():
        click.echo(f"{host}: unknown: {what}", err=True)
    if made.uncovered:
        table(("host", "kind", "item", "found"), list(rows(made)))
    text = yaml_text(made)
    if text:
        click.echo(f"\n{text}")
    if made.left_out:
        click.echo(f"{made.left_out} further entries are left out: add these, then run this again", err=True)
    if not made.uncovered and not made.unknown:
        click.echo("everything that was found is watched and backed up, or has its exception")


def rows(made: Suggestion) -> Iterator[tuple[str, str, str, str]]:
    """A line for each uncovered thing, by host."""
    for thing in sorted(made.uncovered, key=lambda each: (each.host, each.kind)):
        why = f"{thing.why}; not proposed: {made.refused[thing]}" if thing in made.refused else thing.why
        yield thing.host, thing.kind, thing.name, why


def yaml_text(made: Suggestion) -> str:
    """The entries as they could be pasted."""
    sections = groupby(made.entries, key=lambda entry: entry.section)
    return "\n".join(section_text(section, entries) for section, entries in sections)


def as_object(made: Suggestion) -> dict[str, Any]:
    """The suggestion for scripts."""
    return {
        "unknown": made.unknown,
        "uncovered": [thing_object(thing, made.refused.get(thing)) for thing in made.uncovered],
        "entries": {
            section: {entry.name: entry.settings for entry in made.entries if entry.section == section}
            for section in ("services", "backups")
        },
        "left_out": made.left_out,
        "exceptions_without_object": made.without_object,
    }


def thing_object(thing: Thing, refused: str | None) -> dict[str, Any]:
    """A thing for scripts; ``not_proposed`` says why there is no entry for it, or null."""
    return {
        "host": thing.host,
        "kind": thing.kind,
        "item": thing.name,
        "found": thing.why,
        "exception": thing.key,
        "not_proposed": refused,
    }
