"""``leitstand backup run``: make a snapshot of one job, or of several at a time."""

import os

import click

from leitstand.errors import EXIT_FAILED, EXIT_WARNINGS, LeitstandError, UsageError
from orchestrator import show
from orchestrator.cli_options import warn, with_context
from orchestrator.context import Context
from orchestrator.facts import read_facts
from orchestrator.job_run import back_up
from orchestrator.run import Progress, RunResult
from orchestrator.signals import breaking_off

PROBLEMS_SHOWN = 10


@click.command(epilog="Example: leitstand backup run website")
@click.argument("job", required=False)
@click.option("--all", "every", is_flag=True, help="Every job, one after the other.")
@with_context
def run(context: Context, job: str | None, every: bool) -> int:
    """Make a snapshot of JOB: its sources, sealed, to all its stores.

    Exit codes: 0 all stores have it, 1 some files could not be read, 3 a store has no snapshot of this run.
    """
    if (job is None) != every:
        raise UsageError("name one job, or --all", "leitstand backup run website")
    with breaking_off():
        statuses = [_run_one(context, name, keep_going=every) for name in context.job_names(job)]
    return max(statuses, default=0)


def _run_one(context: Context, job: str, keep_going: bool) -> int:
    progress = Progress()
    try:
        with show.progress(job, lambda: progress.content_bytes, _expected_bytes(context, job)):
            result = back_up(context, job, progress)
    except LeitstandError as error:
        if not keep_going:
            raise
        warn(f"{job}: {error.message}")
        return error.exit_code
    _tell_run(result)
    if result.failed:
        return EXIT_FAILED
    return EXIT_WARNINGS if result.problem_count else 0


def _expected_bytes(context: Context, job: str) -> float | None:
    """What the last run read: the best guess at what this one will."""
    facts = read_facts(context.state, context.settings.backups).get(job, {})
    return max((each.source_bytes for each in facts.values()), default=0) or None


def _tell_run(result: RunResult) -> None:
    for problem in result.problems[:PROBLEMS_SHOWN]:
        warn(f"{os.fsdecode(problem.path) or result.name.job}: {problem.what}")
    if result.problem_count > PROBLEMS_SHOWN:
        warn(f"… and {result.problem_count - PROBLEMS_SHOWN} more; the snapshot's manifest names them all")
    for error in result.failed.values():
        for line in error.lines():
            warn(line)
    meta, stores = result.meta, ", ".join(result.stored)
    stored = show.size(meta.archive_bytes + meta.manifest_bytes)
    click.echo(
        f"{result.name.job}: {meta.state} snapshot {result.name.id} in {stores}: {meta.entries} entries,"
        f" {show.size(meta.content_bytes)} read, {stored} stored"
    )
