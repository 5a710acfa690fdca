"""``leitstand backup doctor``: try everything that a run needs, before the first night."""

import json
from dataclasses import asdict

import click

from leitstand.errors import EXIT_FAILED, EXIT_WARNINGS
from leitstand.options import json_option
from leitstand.text import visible
from orchestrator.cli.options import with_context
from orchestrator.doctor import Check, examine
from orchestrator.state.context import Context

_EXITS = {"good": 0, "warning": EXIT_WARNINGS, "bad": EXIT_FAILED}


@click.command(epilog="Example: leitstand backup doctor website")
@click.argument("job", required=False)
@json_option
@with_context
def doctor(context: Context, job: str | None, as_json: bool) -> int:
    """Try everything that a run of JOB, or of all jobs, needs: keys, stores, sources, space.

    An object is written to each store, read, listed and removed. The beginning of each dump is read. Exit
    codes: 0 all good, 1 warnings, 3 a run would fail.
    """
    checks: list[Check] = []
    for name in context.job_names(job):
        for check in examine(context, name):
            checks.append(check)
            if not as_json:
                _print(check)
    if as_json:
        rows = [{"job": each.job, "check": each.what, **asdict(each.found)} for each in checks]
        click.echo(json.dumps(rows, indent=1))
    return max((_EXITS[each.found.result] for each in checks), default=0)


def _print(check: Check) -> None:
    found = check.found
    click.echo(visible(f"{found.result:<8}{check.job}: {check.what}: {found.told}"))
    if found.hint:
        click.echo(visible(f"          hint: {found.hint}"))
