"""Commands that belong to no single program: check, render, schema."""

import json
from pathlib import Path

import click

from leitstand.config import check as check_document
from leitstand.config import load_document
from leitstand.document import ConfigError
from leitstand.options import config_option, json_option


@click.command(epilog="Example: leitstand check --config /etc/leitstand/leitstand.yml")
@config_option
@json_option
def check(config_path: Path, as_json: bool) -> int:
    """Check the configuration; print every problem as file:line: path: what; hint.

    Exit codes: 0 nothing is wrong, 2 something is.
    """
    try:
        document = load_document(config_path)
        problems = check_document(document)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        click.echo(json.dumps([{**problem.__dict__, "file": str(problem.file)} for problem in problems]))
        return 2 if problems else 0
    if problems:
        raise ConfigError(problems)
    counts = ", ".join(f"{len(content)} {section}" for section, content in document.data.items() if content)
    click.echo(f"{config_path}: good ({counts or 'empty'})")
    return 0
