"""``leitstand backup status``: the status of each job as recorded on this host."""

import json
import time
from datetime import datetime, tzinfo
from typing import Any

import click

from leitstand.errors import EXIT_WARNINGS
from leitstand.options import json_option
from leitstand.tables import flow, table, terminal_width
from orchestrator.cli import output
from orchestrator.cli.options import with_context
from orchestrator.config.sizes import size
from orchestrator.config.tasks import Task, TaskPlan, is_default, plans, schedule_of
from orchestrator.state.context import Context
from orchestrator.state.facts import StoreFacts, read_facts

NEW_SECONDS = 86400.0  # a job with default drills has a day for its first one, as in BackupNotProven


@click.command(epilog="Example: leitstand backup status")
@json_option
@with_context
def status(context: Context, as_json: bool) -> int:
    """Show the status of each job as recorded on this host: last run, size, tests, problem.

    Exit codes: 0 all good, 1 a job has a problem or is late.
    """
    facts = read_facts(context.state, context.settings.backups)
    rows = [
        _status_row(context, job, store, facts.get(job, {}).get(store, StoreFacts()))
        for job in context.job_names(None)
        for store in context.job(job).stores
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print_status(rows, context.fleet.site.zone)
    return EXIT_WARNINGS if any(row["problem"] for row in rows) else 0


def _status_row(context: Context, job_name: str, store: str, facts: StoreFacts) -> dict[str, Any]:
    job, now = context.job(job_name), datetime.now(context.fleet.site.zone)
    plan = plans({job_name: job}).get(Task(job_name, "run"))
    following = _next_start(plan, facts, now) if plan else None
    return {
        "job": job_name,
        "store": store,
        "last_success": facts.last_success,
        "snapshot": facts.last_snapshot,
        "stored_bytes": facts.stored_bytes,
        "snapshots": facts.snapshots,
        "verified": max(facts.verified.get("full", 0), facts.verified.get("share", 0)),
        "drilled": facts.verified.get("drill", 0),
        "next": following.timestamp() if following else None,
        "problem": facts.problems or _lateness(context, job_name, facts, now.timestamp()),
    }


def _next_start(plan: TaskPlan, facts: StoreFacts, now: datetime) -> datetime | None:
    if plan.schedule.every is None or not facts.last_success:
        return plan.after(now)
    began = datetime.fromtimestamp(facts.last_success - facts.duration_seconds, now.tzinfo)
    return plan.after(began, again=True)


def _lateness(context: Context, job_name: str, facts: StoreFacts, now: float) -> str:
    job = context.job(job_name)
    if not (facts.last_run or facts.last_success):
        return "never backed up"
    if job.timing and facts.last_success < now - 2 * job.timing.interval.total_seconds():
        return "late: two runs were missed"
    return _lateness_of_drills(context, job_name, facts, now)


def _lateness_of_drills(context: Context, job_name: str, facts: StoreFacts, now: float) -> str:
    schedule = schedule_of(job_name, context.job(job_name), "drill")
    if schedule is None or not facts.last_success or "drill" in facts.denied:
        return ""
    # One good drill, from any store, proves the job.
    known = read_facts(context.state, context.settings.backups)[job_name].values()
    drilled = max(each.verified.get("drill", 0) for each in known)
    if not drilled:
        asked_for = not is_default(context.job(job_name), "drill")
        return "never proven by a drill" if asked_for or facts.oldest < now - NEW_SECONDS else ""
    return "late: two drills were missed" if drilled < now - 2 * schedule.interval.total_seconds() else ""


def _print_status(rows: list[dict[str, Any]], zone: tzinfo) -> None:
    columns = ("JOB", "STORE", "LAST GOOD", "STORED", "COUNT", "VERIFIED", "DRILLED", "NEXT", "PROBLEM")
    cells = [
        (
            row["job"],
            row["store"],
            output.moment(row["last_success"], zone),
            size(row["stored_bytes"]),
            "?" if row["snapshots"] is None else str(row["snapshots"]),
            output.moment(row["verified"], zone),
            output.moment(row["drilled"], zone),
            output.moment(row["next"], zone) if row["next"] else "by hand",
            row["problem"] or "-",
        )
        for row in rows
    ]
    table(columns, cells, right=("STORED", "COUNT"))
    actual = "for the actual contents of the stores, run: leitstand backup list"
    note = f"as of {output.moment(time.time(), zone)}; {actual}"
    click.echo("\n".join(flow([note], terminal_width())))
