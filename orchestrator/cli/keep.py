"""``leitstand backup hold|forget``: keep or delete one snapshot regardless of ``keep``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import click

from leitstand.errors import EXIT_OK, UsageError
from orchestrator.backup.lock import job_lock
from orchestrator.cli.options import store_option, warn, with_context
from orchestrator.repository.catalog import Listed, is_held, snapshots
from orchestrator.repository.layout import HOLD, MARK
from orchestrator.retention.prune import put_note
from orchestrator.state.context import Context, keys_of
from orchestrator.stores import Store

_job_option = click.option("--job", "job_name", help="Job of the snapshot; default: search all jobs.")
Found = tuple[str, Store, Listed, list[Listed]]  # job, store, the snapshot, all that are there


@click.command(epilog="Example: leitstand backup hold 20261121T030000Z-abcdefgh")
@click.argument("snapshot")
@click.option("--release", is_flag=True, help="Release the snapshot: 'keep' decides again.")
@_job_option
@store_option
@with_context
def hold(context: Context, snapshot: str, release: bool, job_name: str | None, only: str | None) -> int:
    """Keep one SNAPSHOT until it is released, in every store that has it.

    An object KEEP in its folder makes prune keep it, on every machine.
    """

    def change(job: str, store: Store, listed: Listed, _: list[Listed]) -> None:
        if release:
            store.delete(listed.name.key(HOLD))
        elif not is_held(listed):
            put_note(store, listed.name, HOLD)
        _note(context, job, store, listed, forgotten=False, held=not release)
        click.echo(f"{job}: {store.name}: {listed.id} {'is released' if release else 'stays until released'}")

    return _for_each(context, snapshot, job_name, only, change)


@click.command(epilog="Example: leitstand backup forget 20261121T030000Z-abcdefgh")
@click.argument("snapshot")
@click.option(
    "--yes-really", is_flag=True, help="Also delete the last good snapshot, or the last one of all."
)
@_job_option
@store_option
@with_context
def forget(context: Context, snapshot: str, yes_really: bool, job_name: str | None, only: str | None) -> int:
    """Delete one SNAPSHOT, regardless of 'keep', in every store that has it.

    It is marked now, and deleted by this machine's first prune after the grace period; 'hold --release'
    undoes that. A held snapshot is refused; the last good one of a store needs --yes-really.
    """

    def change(job: str, store: Store, listed: Listed, there: list[Listed]) -> None:
        if is_held(listed):
            raise UsageError(
                f"{store.name}: {listed.id} is held", "release it first: leitstand backup hold --release"
            )
        going = context.facts().of(job, store.name).forgotten
        left = [each for each in there if not each.doubt and each.id not in {*going, listed.id}]
        is_good = listed.state == "complete"
        if not yes_really and not any(each.state == "complete" or not is_good for each in left):
            raise UsageError(
                f"{store.name}: {listed.id} is the last {'good ' * is_good}one of {job}",
                "confirm with --yes-really",
            )
        if not any(info.key == listed.name.key(MARK) for info in listed.objects):
            put_note(store, listed.name, MARK)
        _note(context, job, store, listed, forgotten=True, held=False)
        click.echo(f"{job}: {store.name}: {listed.id} is marked; prune deletes it after the grace period")

    return _for_each(context, snapshot, job_name, only, change)


def _for_each(
    context: Context,
    snapshot: str,
    job_name: str | None,
    only: str | None,
    change: Callable[[str, Store, Listed, list[Listed]], None],
) -> int:
    found = False
    for job in context.job_names(job_name):
        if only in (None, *context.job(job).stores):
            with _places(context, job, snapshot, only) as places:
                for place in places:
                    found = True
                    change(*place)
    if not found:
        raise UsageError(f"no store has a proven snapshot {snapshot}", "see: leitstand backup list")
    return EXIT_OK


@contextmanager
def _places(context: Context, job: str, snapshot: str, only: str | None) -> Iterator[list[Found]]:
    """Where a job's snapshot is, for as long as the job's lock is held."""
    settings = context.job(job)
    keys, places = keys_of(settings), list[Found]()
    with job_lock(context.state, job), context.stores(settings, only) as stores:
        for store in stores:
            there = snapshots(store, settings.host, job, keys)
            for listed in there:
                if listed.id == snapshot and listed.doubt:
                    warn(f"{store.name}: {listed.id} is {listed.state}: {listed.doubt}")
                elif listed.id == snapshot:
                    places.append((job, store, listed, there))
        yield places


def _note(context: Context, job: str, store: Store, listed: Listed, *, forgotten: bool, held: bool) -> None:
    def changed(names: Sequence[str], wanted: bool) -> list[str]:
        return sorted({*names, listed.id} if wanted else {*names} - {listed.id})

    context.facts().update(
        job,
        store.name,
        lambda facts: replace(
            facts, forgotten=changed(facts.forgotten, forgotten), held=changed(facts.held, held)
        ),
    )
