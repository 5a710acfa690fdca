"""Command line options that several commands share."""

import os
from pathlib import Path

import click

LOCAL = Path("leitstand.yml")
INSTALLED = Path("/etc/leitstand/leitstand.yml")


def default_config() -> Path:
    """The configuration when none is named, in the order that the option's help tells."""
    if named := os.environ.get("LEITSTAND_CONFIG"):
        return Path(named)
    return LOCAL if LOCAL.exists() else INSTALLED


config_option = click.option(
    "--config",
    "-c",
    "config_path",
    type=click.Path(readable=False, path_type=Path),  # who reads it says more than click would
    default=default_config,
    show_default="$LEITSTAND_CONFIG, ./leitstand.yml or /etc/leitstand/leitstand.yml",
    help="leitstand.yml, or a folder of such files.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
