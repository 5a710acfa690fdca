"""``leitstand backup run``: make a snapshot of one job, or of several at a time."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from leitstand.errors import EXIT_FAILED, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from leitstand.tables import table
from orchestrator.backup.job_run import back_up
from orchestrator.backup.run import Progress, RunResult
from orchestrator.cli import output
from orchestrator.cli.options import limits_options, warn, warn_of, when_due, with_path
from orchestrator.config.sizes import size
from orchestrator.scheduler.batch import run_all
from orchestrator.scheduler.children import Children, Ended
from orchestrator.scheduler.slots import Parallelism
from orchestrator.state.context import Context
from orchestrator.state.facts import read_facts

PROBLEMS_SHOWN = 10
_COLUMNS = ("JOB", "SNAPSHOT", "STATE", "ENTRIES", "READ", "STORED", "TIME", "PROBLEM")
_RIGHT = ("ENTRIES", "READ", "STORED", "TIME")


@click.command(epilog="Example: leitstand backup run website")
@click.argument("job", required=False)
@click.option("--all", "every", is_flag=True, help="Run every job, several in parallel.")
@limits_options
@json_option
@with_path
@when_due("run")
def run(
    context: Context, config_path: Any, job: str | None, every: bool, limits: Parallelism, as_json: bool
) -> int:
    """Make a snapshot of JOB: encrypt its sources and send them to all its stores.

    SIGTERM or Ctrl-C interrupts it: what it stored is removed, its hooks clean up. Exit codes: 0 all stores
    have it, 1 some files could not be read, 3 a store has no snapshot of this run, 130 interrupted.
    """
    if (job is None) != every:
        raise UsageError("name one job, or --all", "leitstand backup run website")
    if job is not None:
        return _run_one(context, job, as_json)
    return _run_all(context, Children(config_path), limits, as_json)


def _run_all(context: Context, children: Children, limits: Parallelism, as_json: bool) -> int:
    done = run_all(context, children, context.job_names(None), limits, _warn_of_ended)
    reports = [_report_of(ended) for ended in done]
    if as_json:
        click.echo(json.dumps(reports, indent=1))
    else:
        table(_COLUMNS, [_cells(report) for report in reports], _RIGHT)
    return max((ended.status for ended in done), default=0)


def _warn_of_ended(ended: Ended) -> None:
    for line in ended.stderr.splitlines():
        warn(f"{ended.task.job}: {line}")


def _report_of(ended: Ended) -> dict[str, Any]:
    if isinstance(ended.report, dict):
        return ended.report
    problem = (ended.stderr.strip().splitlines() or ["no error message"])[-1]
    return {
        "job": ended.task.job,
        "status": ended.status,
        "seconds": round(ended.seconds, 3),
        "problem": problem,
    }


def _cells(report: dict[str, Any]) -> Sequence[str]:
    read, stored = report.get("content_bytes"), report.get("stored_bytes")
    return (
        report["job"],
        report.get("snapshot", "-"),
        report.get("state", "failed"),
        str(report.get("entries", "-")),
        "-" if read is None else size(read),
        "-" if stored is None else size(stored),
        f"{report['seconds']:.0f} s",
        report.get("problem") or "-",
    )


def _run_one(context: Context, job: str, as_json: bool) -> int:
    progress, start = Progress(), time.monotonic()
    try:
        with output.progress(job, lambda: progress.content_bytes, _expected_bytes(context, job)):
            result = back_up(context, job, progress)
    except LeitstandError as error:
        if as_json:
            report = {"job": job, "status": error.exit_code, "problem": error.message}
            click.echo(json.dumps({**report, "seconds": round(time.monotonic() - start, 3)}, indent=1))
        raise
    _warn_of_problems(result)
    status = EXIT_FAILED if result.failed else EXIT_WARNINGS if result.problem_count else 0
    if as_json:
        seconds = round(time.monotonic() - start, 3)
        click.echo(json.dumps({**_as_dict(result), "status": status, "seconds": seconds}, indent=1))
    else:
        _print_run(result)
    return status


def _expected_bytes(context: Context, job: str) -> float | None:
    """Bytes that the last run read, as an estimate for this one; None if unknown."""
    facts = read_facts(context.state, context.settings.backups).get(job, {})
    return max((each.source_bytes for each in facts.values()), default=0) or None


def _as_dict(result: RunResult) -> dict[str, Any]:
    meta = result.meta
    first = [*(error.message for error in result.failed.values()), *(p.what for p in result.problems)]
    return {
        "job": result.name.job,
        "host": result.name.host,
        "snapshot": result.name.id,
        "state": meta.state,
        "stores": list(result.stored),
        "failed": {name: error.message for name, error in result.failed.items()},
        "entries": meta.entries,
        "changes": asdict(result.changed) if result.changed else None,
        "content_bytes": meta.content_bytes,
        "stored_bytes": meta.archive_bytes + meta.manifest_bytes,
        "problems": result.problem_count,
        "problem": first[0] if first else "",
    }


def _warn_of_problems(result: RunResult) -> None:
    for problem in result.problems[:PROBLEMS_SHOWN]:
        warn(f"{os.fsdecode(problem.path) or result.name.job}: {problem.what}")
    if result.problem_count > PROBLEMS_SHOWN:
        warn(f"… and {result.problem_count - PROBLEMS_SHOWN} more; the snapshot's manifest names them all")
    for error in result.failed.values():
        warn_of(error)


def _print_run(result: RunResult) -> None:
    meta, stores = result.meta, ", ".join(result.stored)
    if result.failed:
        stores += f", NOT in {', '.join(result.failed)}"
    stored = size(meta.archive_bytes + meta.manifest_bytes)
    since = result.changed
    changes = f" ({since.new} new, {since.changed} changed, {since.gone} gone)" if since else ""
    click.echo(
        f"{result.name.job}: {meta.state} snapshot {result.name.id} in {stores}: {meta.entries} entries"
        f"{changes}, {size(meta.content_bytes)} read, {stored} stored"
    )
