"""What several commands of ``leitstand backup`` have in common."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from leitstand.options import config_option
from orchestrator.context import Context

store_option = click.option("--store", "only", help="Only this store of the job.")
snapshot_option = click.option(
    "--snapshot", "snapshot_id", help="Its name as 'list' shows it; default: the newest."
)


def with_context(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the configuration as its first argument."""

    @config_option
    @functools.wraps(command)
    def call(config_path: Path, **arguments: Any) -> Any:
        return command(Context.load(config_path), **arguments)

    return call


def warn(text: str) -> None:
    """One line on standard error."""
    click.echo("".join(letter if letter.isprintable() else "\ufffd" for letter in text), err=True)
