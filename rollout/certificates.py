"""``leitstand deploy certificates``: the certificates that exporters and Prometheus present."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from leitstand.options import config_option, json_option
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet
from leitstand.settings.hosts import CA_FOLDER
from rollout.authority import ensure_certificates


@click.command(epilog="Example: leitstand deploy certificates")
@config_option
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=CA_FOLDER,
    show_default=True,
    help="Folder of the CA and of all certificates.",
)
@json_option
def certificates(config_path: Path, folder: Path, as_json: bool) -> None:
    """Make or renew the certificates of the hosts with roles, on the leitstand host.

    The first run makes a CA, whose key stays in the folder. A certificate is renewed 30 days before its end,
    and when the host's address changed. `leitstand apply` runs this and copies what is new.
    """
    hosts = read(load_document(config_path), Fleet).hosts
    addresses = {name: host.address for name, host in hosts.items() if host.has_own_certificate}
    new = ensure_certificates(folder, addresses, datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "new": new}))
        return
    for stem in new:
        click.echo(f"new: {folder / stem}.crt")
    click.echo(f"{len(new)} of {len(addresses) + 1} certificates are new")
