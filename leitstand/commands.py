"""Commands that belong to no single program: check, schema and runbook."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from leitstand.errors import EXIT_OK, EXIT_USAGE, UsageError
from leitstand.options import json_option, quiet_config_option
from leitstand.settings.config import ConfigError, Problem, entries, load_document, owners, warnings
from leitstand.settings.config import check as check_document
from leitstand.settings.schema import json_schema
from leitstand.settings.words import did_you_mean
from leitstand.share import share


@click.command(epilog="Example: leitstand check --config /etc/leitstand/leitstand.yml")
@quiet_config_option
@json_option
def check(config_path: Path, as_json: bool) -> int:
    """Check the configuration; print every problem as file:line: path: what; hint.

    Warnings are about settings that are rarely intended: a job that is never verified, keys in an unsafe
    place, a missing file. Exit codes: 0 no problems, with or without warnings, 2 problems.
    """
    cautions: list[Problem] = []
    try:
        document = load_document(config_path)
        problems = check_document(document)
        cautions = [each for each in warnings(document) if not any(_of_one_entry(each, p) for p in problems)]
    except ConfigError as error:
        problems = error.problems
    if as_json:
        found = [{**asdict(problem), "file": str(problem.file)} for problem in problems + cautions]
        click.echo(json.dumps(found, indent=2))
        return EXIT_USAGE if problems else EXIT_OK
    for caution in cautions:
        click.echo(str(caution), err=True)
    if problems:
        raise ConfigError(problems)
    counts = ", ".join(f"{section} {count}" for section, count in entries(document).items())
    click.echo(f"{config_path}: valid ({counts or 'no hosts, services or backups yet'})")
    return EXIT_OK


@click.command(epilog="Example: leitstand schema > leitstand.schema.json")
def schema() -> None:
    """Print the JSON Schema of leitstand.yml, for editors that complete and check while you type."""
    click.echo(json.dumps(json_schema(owners()), indent=2, ensure_ascii=False))


def _of_one_entry(one: Problem, other: Problem) -> bool:
    """Whether both concern the same host or job: a faulty entry is only partly understood."""
    return one.path.split(".")[:2] == other.path.split(".")[:2]


def _offer_runbooks(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _runbooks() if name.startswith(incomplete)]


def _runbooks() -> dict[str, Path]:
    return {path.stem: path for path in sorted(share("docs/runbooks").glob("*.md")) if path.stem != "README"}


@click.command(epilog="Example: leitstand runbook BackupFailed")
@click.argument("alert", required=False, shell_complete=_offer_runbooks)
def runbook(alert: str | None) -> None:
    """Print what ALERT means, what to check first and what to do; without ALERT, list all names."""
    pages = _runbooks()
    if alert is None:
        click.echo("\n".join(pages))
        return
    name = next((each for each in pages if each.lower() == alert.lower()), None)
    if name is None:
        raise UsageError(f"there is no runbook '{alert}'", did_you_mean(alert, list(pages)))
    click.echo(pages[name].read_text(encoding="utf-8"), nl=False)
