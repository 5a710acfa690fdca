"""``leitstand render``: write the folders that other programs are started with."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fleet_config.alertmanager import alertmanager_files, needs_url_file, reaches_someone
from fleet_config.ansible import Inventory, inventory, leitstand_host_if_here
from fleet_config.claims import unheard
from fleet_config.expected import Expected
from fleet_config.grafana import grafana_files
from fleet_config.output import Written, json_text, remove_former, write_files
from fleet_config.prometheus import Addresses, prometheus_files
from fleet_config.settings import DeploySettings
from leitstand.errors import EXIT_OK, EXIT_WARNINGS, UsageError
from leitstand.options import config_option, json_option
from leitstand.settings.config import load_document, read
from leitstand.settings.fleet import Fleet
from leitstand.settings.roles import managed_hosts
from leitstand.settings.words import did_you_mean
from leitstand.share import share

# Which program must be reloaded when a file changes. Target files and dashboards are watched.
RELOADS = {
    "prometheus.yml": "Prometheus",
    "rules": "Prometheus",
    "blackbox.yml": "blackbox_exporter",
    "alertmanager.yml": "Alertmanager",
    "templates": "Alertmanager",
    "provisioning": "Grafana",
}
RULES = "rules/*.yml"  # as in prometheus.yml
_log = logging.getLogger(__name__)


class _HostAndPort(click.ParamType[str]):
    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        host, _, port = str(value).rpartition(":")
        if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            self.fail(f"'{value}' is not HOST:PORT, such as 127.0.0.1:9115", param, ctx)
        return str(value)


def _address(name: str) -> Callable[..., Any]:
    default = getattr(Addresses(), name)
    return click.option(
        f"--{name}", type=_HostAndPort(), default=default, show_default=True, help=f"Where {name} listens."
    )


_out_option = click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to."
)


@click.group(epilog="Example: leitstand render prometheus --out /etc/leitstand/prometheus")
def render() -> None:
    """Write the configuration of other programs from leitstand.yml.

    Files without changes are not touched. Rules that an earlier release wrote are removed, because
    Prometheus would read them; nothing else is removed.

    Exit codes: 0 all good, 1 written with a warning, 2 wrong usage or configuration, 3 failed.
    """


@render.command(epilog="Example: leitstand render prometheus --out /etc/leitstand/prometheus")
@config_option
@_out_option
@_address("prometheus")
@_address("alertmanager")
@_address("blackbox")
@click.option(
    "--inventory",
    is_flag=True,
    help="Also scrape one series per item of the inventory: for up to about 50 hosts.",
)
@json_option
def prometheus(config_path: Path, out: Path, inventory: bool, as_json: bool, **addresses: str) -> int:
    """Write a folder for Prometheus: configuration, rules, targets and blackbox modules."""
    document = load_document(config_path)
    fleet, expected = read(document, Fleet), read(document, Expected)
    made_of = (fleet, expected, Addresses(**addresses), share("prometheus"))
    files = prometheus_files(*made_of, inventory=inventory)
    _report(out, [*write_files(out, files), *remove_former(out, RULES, files)], as_json)
    silent = list(unheard(fleet, expected))
    for part in silent:
        _log.warning(
            "no host may report about '%s'; declare the one that runs it: hosts.NAME.runs: [%s]", part, part
        )
    return EXIT_WARNINGS if silent else EXIT_OK


@render.command(epilog="Example: leitstand render alertmanager --out /etc/leitstand/alertmanager")
@config_option
@_out_option
@json_option
def alertmanager(config_path: Path, out: Path, as_json: bool) -> int:
    """Write a folder for Alertmanager: routes, inhibition, receivers and mail templates."""
    alerts = (fleet := read(load_document(config_path), Fleet)).alerts
    _report(out, write_files(out, alertmanager_files(fleet, share("prometheus") / "alertmanager")), as_json)
    if needs_url_file(alerts):
        _log.info("a URL given by file needs Alertmanager 0.26 or newer; Debian 12 has 0.25")
    if not reaches_someone(alerts):
        _log.warning("no alert will reach anyone: 'alerts:' has neither 'mail' nor 'webhook_url'")
        return EXIT_WARNINGS
    return EXIT_OK


@render.command(epilog="Example: leitstand render grafana --out /etc/leitstand/grafana")
@config_option
@_out_option
@_address("prometheus")
@json_option
def grafana(config_path: Path, out: Path, as_json: bool, prometheus: str) -> int:
    """Write data source and dashboards for Grafana; alerts.runbook_url adds links to runbooks.

    Set PROVISIONING_CFG_DIR in /etc/default/grafana-server to the folder 'provisioning' below --out.
    """
    fleet = read(load_document(config_path), Fleet)
    _report(out, write_files(out, grafana_files(fleet, prometheus, out, share("grafana"))), as_json)
    return EXIT_OK


_here_option = click.option(
    "--here",
    metavar="HOST",
    help="Host that Ansible runs on, which needs no SSH. Default: the leitstand host, if its address "
    "is one of this machine's.",
)


@render.command(epilog="Example: leitstand render ansible --out /root/fleet")
@config_option
@_out_option
@_here_option
@json_option
def ansible(config_path: Path, out: Path, here: str | None, as_json: bool) -> int:
    """Write inventory.json, an Ansible inventory of the hosts with roles; it contains no secret."""
    found = _inventory(config_path, here)
    _report(out, write_files(out, {"inventory.json": json_text(found.as_file())}), as_json)
    if not found.hosts:
        _log.warning("the inventory is empty: no host has roles, such as hosts.NAME.roles: [watched]")
        return EXIT_WARNINGS
    return EXIT_OK


@click.command(epilog="Example: leitstand ansible-inventory --list")
@config_option
@_here_option
@click.option("--list", "as_list", is_flag=True, help="Print all groups, and all hosts with their variables.")
@click.option("--host", metavar="NAME", help="Print the variables of one host.")
def ansible_inventory(config_path: Path, here: str | None, as_list: bool, host: str | None) -> None:
    """Print the Ansible inventory of the hosts with roles, as JSON; it contains no secret.

    Ansible takes a script as inventory (-i) that runs this command with the script's own arguments.
    """
    if as_list == (host is not None):
        raise UsageError("give either --list or --host", "such as: leitstand ansible-inventory --list")
    found = _inventory(config_path, here)
    if host is not None and host not in found.hosts:
        raise UsageError(f"there is no host '{host}' with roles", did_you_mean(host, list(found.hosts)))
    click.echo(json_text(found.as_script() if host is None else found.hosts[host]), nl=False)


def _inventory(config_path: Path, here: str | None) -> Inventory:
    document = load_document(config_path)
    fleet, expected = read(document, Fleet), read(document, Expected)
    if here is not None and here not in managed_hosts(fleet.hosts):
        raise UsageError(
            f"--here: there is no host '{here}' with roles", did_you_mean(here, list(fleet.hosts))
        )
    deploy = read(document, DeploySettings).deploy
    return inventory(fleet, expected, deploy, here or leitstand_host_if_here(fleet))


def _report(out: Path, written: list[Written], as_json: bool) -> None:
    touched = [file for file in written if file.change != "unchanged"]
    reload = sorted({RELOADS[top] for file in touched if (top := file.path.split("/")[0]) in RELOADS})
    if as_json:
        files = [{"path": str(out / file.path), "change": file.change} for file in written]
        click.echo(json.dumps({"files": files, "reload": reload}))
        return
    for file in touched:
        click.echo(f"{file.change:>9}  {out / file.path}")
    gone = sum(1 for file in touched if file.change == "removed")
    click.echo(
        f"{len(touched) - gone} of {len(written) - gone} files written"
        + (f", {gone} removed" if gone else "")
        + (f"; reload: {', '.join(reload)}" if reload else "")
    )
