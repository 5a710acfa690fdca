"""``leitstand apply`` and ``leitstand deploy status``."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS
from leitstand.options import config_option, json_option
from leitstand.tables import table
from leitstand.version import VERSION
from rollout.apply.command import Request, replay
from rollout.apply.command import apply as roll_out
from rollout.apply.deployments import Deployments
from rollout.apply.engine import Report, Wishes
from rollout.apply.plan import own_prometheus
from rollout.apply.shown import Shown, on_standard_error
from rollout.apply.status import Row, fleet_rows
from rollout.remote.parcel import Order
from rollout.remote.send import Way, send

CARRIED = Path("/usr/share/leitstand/packages")  # the package leitstand brings leitstand-exporter


@click.command(epilog="Example: leitstand apply --dry-run")
@config_option
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this host; repeatable.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would change.")
@click.option("--release", metavar="VERSION", help="Return to the last good deployment of this release.")
@click.option(
    "--packages",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with packages of this release, to be copied to /var/cache/leitstand/releases.",
)
@click.option(
    "--without-gate", metavar="REASON", default="", help="Do not wait for Prometheus; the reason is logged."
)
@click.option(
    "--accept-host-keys", is_flag=True, help="Pin the SSH keys that new hosts present, without asking."
)
@click.option(
    "--on",
    "elsewhere",
    metavar="HOST",
    help="Send the configuration to the leitstand host, [USER@]HOST[:PORT].",
)
@click.option("--identity", type=click.Path(path_type=Path), help="Private key for --on.")
@click.option("--known-hosts", type=click.Path(path_type=Path), help="File with host keys for --on.")
@json_option
def apply(
    config_path: Path,
    elsewhere: str | None,
    identity: Path | None,
    known_hosts: Path | None,
    hosts: tuple[str, ...],
    dry_run: bool,
    release: str | None,
    packages: Path | None,
    without_gate: str,
    accept_host_keys: bool,
    as_json: bool,
) -> int:
    """Make every host what leitstand.yml says; run it again at any time.

    The leitstand host comes first, then the first host of each role, then the rest. After each batch it
    waits until Prometheus says that all is as well as before; otherwise that batch goes back and the rest is
    left.

    Exit codes: 0 done, 1 done with warnings, 2 wrong usage or configuration, 3 failed; says on which host.
    """
    if elsewhere:
        order = Order(list(hosts), dry_run, without_gate)
        return send(config_path, order, Way(elsewhere, identity, known_hosts))
    wishes = Wishes(hosts, without_gate, dry_run=dry_run)
    deployments = Deployments()
    shown = Shown() if as_json else on_standard_error()
    if release not in (None, VERSION):
        report = replay(release or "", wishes, deployments, shown)
    else:
        folders = [CARRIED, Path.cwd(), *([packages] if packages else [])]
        report = roll_out(
            Request(config_path, VERSION, wishes, folders),
            deployments,
            shown,
            lambda text: accept_host_keys or _confirm(text),
        )
    _print(report, as_json)
    return EXIT_OK if report.good and not report.warnings else EXIT_WARNINGS if report.good else EXIT_FAILED


def _confirm(text: str) -> bool:
    return sys.stdin.isatty() and click.confirm(text, err=True)


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"good": report.good, **asdict(report)}))
        return
    for host, diffs in report.diffs.items():
        click.echo("\n".join([f"--- {host}", *diffs]))
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    hosts = [*report.changed, *(host for host in report.problems if host not in report.changed)]
    for host in hosts:
        problem = report.problems.get(host)
        click.echo(f"{host}: {problem or f'{len(report.changed[host])} changed'}")
    if report.untouched:
        click.echo(f"left as they were: {', '.join(report.untouched)}")
    click.echo("done" if report.good else f"failed{f': {report.stopped}' if report.stopped else ''}")


@click.command(epilog="Example: leitstand deploy status")
@json_option
def status(as_json: bool) -> int:
    """Print for each host which release and configuration it runs, and whether they are the wanted ones.

    Exit codes: 0 all as wanted, 1 a host differs or is unknown, 3 failed.
    """
    rows = fleet_rows(Deployments(), own_prometheus())
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows]))
    else:
        table(Row.COLUMNS, [row.cells() for row in rows])
    return EXIT_OK if all(row.as_wanted for row in rows) else EXIT_WARNINGS
