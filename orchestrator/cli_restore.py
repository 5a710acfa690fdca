"""``leitstand backup restore``: bring a snapshot back."""

import os
from pathlib import Path

import click

from leitstand.errors import EXIT_WARNINGS, LeitstandError
from orchestrator import show
from orchestrator.cli_options import snapshot_option, store_option, warn, with_context
from orchestrator.context import Context
from orchestrator.operations import readable_snapshot
from orchestrator.owners import Owners
from orchestrator.restore import Restored, check_target
from orchestrator.restore_into import Existing, extra_in, restore_to
from orchestrator.snapshot import Snapshot
from orchestrator.sources.patterns import Selection

PROBLEMS_SHOWN = 10


@click.command(epilog="Example: leitstand backup restore website --target /srv/restored '*/uploads/*'")
@click.argument("job")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--target", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@snapshot_option
@store_option
@click.option("--numeric-owner", is_flag=True, help="Owners by number, not by name.")
@click.option("--into-existing", "overwrite", is_flag=True, help="Also into a folder that holds something.")
@click.option("--delete-extra", is_flag=True, help="Remove there what the snapshot does not have.")
@click.option("--dry-run", is_flag=True, help="Only say how much would be restored, and what removed.")
@with_context
def restore(
    context: Context,
    job: str,
    patterns: tuple[str, ...],
    target: Path,
    snapshot_id: str | None,
    only: str | None,
    numeric_owner: bool,
    overwrite: bool,
    delete_extra: bool,
    dry_run: bool,
) -> int:
    """Restore a snapshot of JOB, or what the PATTERNs select, into an empty or new folder.

    Owners and all rights are restored when root does it. What has its final name was proven by its SHA-256.
    An interrupted restore into the same target goes on where it stopped. --delete-extra makes the folder of
    an earlier restore of JOB what the snapshot was; any other folder needs --into-existing too.
    """
    live, existing = Restored(), Existing(overwrite, delete_extra)
    owners = Owners(may_give=os.geteuid() == 0, numeric=numeric_owner)
    with readable_snapshot(context, context.job(job), job, snapshot_id, only, warn) as snapshot:
        if dry_run:
            return _tell_dry_run(snapshot, target.absolute(), patterns, existing)
        total = snapshot.meta.content_bytes if not patterns else None
        with show.progress(f"{job} to {target}", lambda: live.content_bytes, total):
            restore_to(snapshot, target, patterns, owners, live, existing)
    return _tell(snapshot, target, patterns, live)


def _tell(snapshot: Snapshot, target: Path, patterns: tuple[str, ...], live: Restored) -> int:
    for note in live.notes[:PROBLEMS_SHOWN]:
        warn(note)
    if patterns and not live.entries:
        raise LeitstandError("nothing in the snapshot matches", "patterns: docs/backups.md")
    removed = f", {live.removed} removed there" if live.removed else ""
    click.echo(
        f"{snapshot.name.job}: {live.entries} entries, {show.size(live.content_bytes)} restored to {target}"
        f" from {snapshot.name.id} in {snapshot.store.name}{removed}"
    )
    return EXIT_WARNINGS if live.notes else 0


def _tell_dry_run(snapshot: Snapshot, target: Path, patterns: tuple[str, ...], existing: Existing) -> int:
    selection = Selection(patterns)
    if not existing.check(snapshot, target, selection):
        check_target(target, snapshot.name.id)
    elif existing.delete_extra:
        for extra in extra_in(snapshot, target):
            name = show.visible(os.fsdecode(extra.path))
            click.echo(f"would be removed: {name}{'/ with all that is in it' if extra.folder else ''}")
    records = [row.record.size for row in snapshot.manifest.rows() if row.record.path in selection]
    click.echo(
        f"{snapshot.name.job}: {len(records)} entries, {show.size(sum(records))} would be restored"
        f" to {target} from {snapshot.name.id} in {snapshot.store.name}"
    )
    return 0
