"""Command line options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from leitstand.errors import UsageError
from leitstand.text import visible
from leitstand.trust import foreign

LOCAL = Path("leitstand.yml")
Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)
INSTALLED = Path("/etc/leitstand/leitstand.yml")


def default_config() -> Path:
    """The configuration if none is given, in the order that the option's help documents."""
    if named := os.environ.get("LEITSTAND_CONFIG"):
        return Path(named)
    return LOCAL if LOCAL.exists() else INSTALLED


def refuse_foreign(config: Path) -> None:
    """Raise UsageError for one found in the working folder that belongs to another user.

    It names programs to run. For root's own, `load_document` checks that, given or found.
    """
    if os.geteuid() != 0 and config == LOCAL and (found := foreign(config)):
        what = f"{found.place} {found.what}: another user's configuration is used only if you name it"
        raise UsageError(
            what, f"if you trust it: --config {LOCAL.absolute()}; otherwise change to another folder"
        )


def config_to_complete(context: click.Context) -> Path:
    """The configuration for a command line that is being completed. Raises UsageError."""
    named = context.params.get("config_path")
    if not named:
        refuse_foreign(default_config())
    return Path(named or default_config())


def _look_at(announce: bool) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def look(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        source = context.get_parameter_source(parameter.name or "")
        if value == LOCAL and source is ParameterSource.DEFAULT and not context.resilient_parsing:
            refuse_foreign(value)
            if announce:
                click.echo(visible(f"configuration: {value.absolute()}"), err=True)
        return value

    return look


def _config_option(announce: bool) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--config",
        "-c",
        "config_path",
        type=click.Path(readable=False, path_type=Path),  # its reader gives a better message than click
        default=default_config,
        show_default="$LEITSTAND_CONFIG, ./leitstand.yml or /etc/leitstand/leitstand.yml",
        callback=_look_at(announce),
        help="leitstand.yml, or a folder of such files.",
    )


config_option = _config_option(announce=True)  # says which one when it was found in the working folder
quiet_config_option = _config_option(announce=False)  # for a command that prints the path anyway
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
