"""``leitstand remove``."""

import json
import sys
from dataclasses import asdict

import click

from leitstand.errors import EXIT_FAILED, EXIT_OK, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from rollout.apply.command import now_text, run_by
from rollout.apply.deployments import Deployments
from rollout.apply.shown import Shown, on_standard_error
from rollout.removal.command import Removal, chosen_hosts
from rollout.removal.command import remove as take_off


@click.command(epilog="Example: leitstand remove --host web1")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this host; repeatable.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
@json_option
def remove(hosts: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> int:
    """Take everything off hosts that `leitstand apply` put there; backups and their keys stay.

    Without --host from all of them, the leitstand host last. Remove a single host from leitstand.yml first
    and run `leitstand apply`: then nothing alerts about it. Records of Prometheus go with its package.

    Exit codes: 0 done, 1 done with warnings, 2 wrong usage, 3 failed; says on which host.
    """
    deployments = Deployments()
    chosen = chosen_hosts(deployments, hosts)
    if not dry_run and not yes:
        _confirm(list(chosen))
    with deployments.locked(run_by(), now_text()):
        removal = take_off(chosen, Shown() if as_json else on_standard_error(), dry_run=dry_run)
    _print(removal, as_json=as_json, dry_run=dry_run)
    if removal.problems:
        return EXIT_FAILED
    return EXIT_WARNINGS if removal.warnings else EXIT_OK


def _confirm(hosts: list[str]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("this removes Leitstand, so it asks first", "in a script: leitstand remove --yes")
    if not click.confirm(f"Remove Leitstand, its figures and its records from {', '.join(hosts)}?", err=True):
        raise LeitstandError("nothing was removed")


def _print(removal: Removal, *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        click.echo(json.dumps({"good": not removal.problems, **asdict(removal)}))
        return
    for warning in removal.warnings:
        click.echo(f"warning: {warning}", err=True)
    for host, problem in removal.problems.items():
        click.echo(f"{host}: {problem}")
    for host in removal.removed:
        tasks = removal.changes[host]
        click.echo(f"{host}: {'would be ' if dry_run else ''}removed ({len(tasks)} changes)")
        if dry_run:
            click.echo("\n".join(f"  {task}" for task in tasks))
    if removal.untouched:
        click.echo(f"left as they were: {', '.join(removal.untouched)}")
