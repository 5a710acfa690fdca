"""``leitstand backup prune``: delete the snapshots that ``keep`` does not retain."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

import click

from leitstand.errors import EXIT_FAILED, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from leitstand.tables import table
from orchestrator.backup.lock import job_lock
from orchestrator.cli.options import (
    if_allowed_option,
    is_left_to_others,
    store_option,
    warn,
    warn_of,
    when_due,
    with_context,
)
from orchestrator.retention.prune import Step, Word, carry_out, plan, sweep_litter, too_many
from orchestrator.state.context import Context, keys_of
from orchestrator.state.facts import StoreFacts, only
from orchestrator.state.keeper import FactsKeeper
from orchestrator.state.lookout import missed
from orchestrator.stores import Store


@click.command(epilog="Example: leitstand backup prune website --dry-run")
@click.argument("job", required=False)
@click.option("--all", "every", is_flag=True, help="Every job.")
@click.option("--dry-run", is_flag=True, help="Only show what would be kept or deleted, and why.")
@click.option("--force", is_flag=True, help="Also delete held snapshots (much larger than the newest).")
@click.option(
    "--yes-really", "marks", type=click.IntRange(1), metavar="N", help="Confirm marking N snapshots at once."
)
@store_option
@if_allowed_option
@json_option
@with_context
@when_due("prune")
def prune(
    context: Context,
    job: str | None,
    every: bool,
    dry_run: bool,
    force: bool,
    marks: int | None,
    only: str | None,
    if_allowed: bool,
    as_json: bool,
) -> int:
    """Delete the snapshots of JOB that its 'keep' does not retain.

    They are marked first, and deleted by a later prune once the grace period is over. Leftovers of
    interrupted runs are removed after two days. A snapshot more than twice as large as the newest good one is
    held, in case the source was emptied. If at least 3 snapshots, and more than 'most_percent' of all, would
    be marked at once, prune stops until you confirm the number. Exit codes: 0 all good, 1 a snapshot is held,
    or is not authentic and was left alone, or too many would be deleted, 3 failed.
    """
    if (job is None) != every:
        raise UsageError("name one job, or --all", "leitstand backup prune website")
    rows: list[dict[str, Any]] = []
    failed = False
    for name in context.job_names(job):
        if every and only not in (None, *context.job(name).stores):
            continue
        with context.stores(context.job(name), only) as stores:
            for store in stores:
                try:
                    rows += [
                        _row(name, step, context.fleet.site.zone)
                        for step in _prune(context, name, store, dry_run, force, marks)
                    ]
                except LeitstandError as error:
                    if not (if_allowed and is_left_to_others(context, name, "prune", error)):
                        failed = True
                        warn_of(error)
    _print_prune(rows, as_json, dry_run)
    if failed:
        return EXIT_FAILED
    return EXIT_WARNINGS if any(row["action"] in ("hold", "stop", "refuse") for row in rows) else 0


def _prune(
    context: Context, job_name: str, store: Store, dry_run: bool, force: bool, marks: int | None
) -> list[Step]:
    # A run must not build on a snapshot that is being deleted; two prunes would count each other's marks.
    with nullcontext() if dry_run else job_lock(context.state, job_name):
        job, facts, zone = context.job(job_name), context.facts(), context.fleet.site.zone
        now = datetime.now(zone)
        known = facts.of(job_name, store.name)
        word = Word(known.damaged, None if force else known.released, marks, known.pruned, known.forgotten)
        steps = plan(store, job_name, job, keys_of(job), now, zone, word)
        there = [step.listed for step in steps if step.listed.committed]
        lost = missed(context, job_name, store, there)
        if not dry_run:
            facts.publish()  # with the start that comes after this one
            for step in carry_out(store, steps):
                click.echo(f"{job_name}: {store.name}: {step.action} {step.listed.name.id}", err=True)
            sweep_litter(store, job_name, job, now)
            facts.allowed(job_name, store.name, "prune")
            _note(facts, job_name, store.name, steps, lost, force)
    for what in lost.values():
        warn(f"{job_name}: {store.name}: {what}")
    _warn_of_held(job_name, store.name, steps)
    return steps


def _warn_of_held(job_name: str, store: str, steps: list[Step]) -> None:
    held = [step for step in steps if step.action == "hold"]
    for step in held[:1]:
        warn(f"{job_name}: {store}: {len(held)} held, first {step.listed.id}: {step.why}")
        warn(f"  hint: was the source emptied? If not: leitstand backup prune {job_name} --force")
    if (count := too_many(steps)) is not None:
        why = next(step.why for step in steps if step.action == "stop").partition(":")[0]
        warn(f"{job_name}: {store}: stopped, nothing was deleted: {why}")
        warn("  hint: check the times of the snapshots and 'keep' with --dry-run. If they are right:")
        warn(f"  hint: leitstand backup prune {job_name} --store {store} --yes-really {count}")


def _note(
    facts: FactsKeeper, job_name: str, store: str, steps: list[Step], lost: Mapping[str, str], force: bool
) -> None:
    """Note the snapshots that are left, and those that need, or have, an admin's confirmation."""
    left = [step for step in steps if step.listed.committed and step.action not in ("delete", "sweep")]
    names = {step.listed.name.id for step in left}
    going = [step.listed.name.id for step in left if force and step.action in ("mark", "wait")]

    def change(before: StoreFacts) -> StoreFacts:
        return replace(
            before,
            snapshots=len(left),
            oldest=min((step.listed.time.timestamp() for step in left), default=0),
            damaged=only(before.damaged, names),
            known=only(before.known, {*names, *lost}),
            lost=lost,
            pruned=before.pruned if too_many(steps) else sorted(names),
            forgotten=sorted(names.intersection(before.forgotten)),
            released=sorted({*names.intersection(before.released), *going}),
        )

    facts.update(job_name, store, change)

    held = sum(step.action == "hold" for step in steps)
    what = f"the newest snapshot has shrunk, {held} larger ones are held" if held else ""
    if (count := too_many(steps)) is not None:
        what = f"stopped, {count} snapshots would be marked at once: see 'prune --dry-run'"
    facts.not_verified(job_name, store, "prune", what)


def _row(job: str, step: Step, zone: tzinfo) -> dict[str, Any]:
    listed = step.listed
    return {
        "job": job,
        "store": listed.store,
        "snapshot": listed.name.id,
        "committed": listed.committed.astimezone(zone).isoformat() if listed.committed else None,
        "stored_bytes": listed.stored_bytes,
        "action": step.action,
        "why": step.why,
    }


def _print_prune(rows: list[dict[str, Any]], as_json: bool, dry_run: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if dry_run:
        columns = ("job", "store", "snapshot", "action", "why")
        table([column.upper() for column in columns], [[row[each] for each in columns] for row in rows])
    counts = Counter(row["action"] for row in rows)
    click.echo(", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "no snapshots")
