"""``leitstand backup …``: parse, call, print, exit code. Nothing is decided here."""

import json
import os
from pathlib import Path
from typing import Any

import click

from leitstand.errors import EXIT_WARNINGS, LeitstandError
from leitstand.options import json_option
from orchestrator import show
from orchestrator.catalog import Listed
from orchestrator.cli_authorize import authorize
from orchestrator.cli_browse import cat, diff, find, ls
from orchestrator.cli_care import prune, status
from orchestrator.cli_keys import keys
from orchestrator.cli_options import snapshot_option, store_option, warn, with_context
from orchestrator.cli_proof import catalog, drill, verify
from orchestrator.cli_run import run
from orchestrator.cli_serve import install_timers, serve
from orchestrator.context import Context
from orchestrator.operations import list_snapshots, readable_snapshot, restore_to
from orchestrator.owners import Owners
from orchestrator.restore import Restored, check_target
from orchestrator.snapshot import Snapshot
from orchestrator.sources.patterns import Selection

PROBLEMS_SHOWN = 10


@click.group(epilog="Example: leitstand backup run website")
def backup() -> None:
    """Back up, verify, list and restore; manage keys.

    Exit codes: 0 all good, 1 finished with warnings, 2 wrong usage or configuration, 3 failed.
    """


COMMANDS = (
    *(run, verify, drill, prune, status, serve, install_timers),
    *(ls, find, cat, diff, catalog, keys, authorize),
)
for command in COMMANDS:
    backup.add_command(command)


@backup.command("list", epilog="Example: leitstand backup list website")
@click.argument("job", required=False)
@store_option
@json_option
@with_context
def list_(context: Context, job: str | None, only: str | None, as_json: bool) -> None:
    """List the complete snapshots of JOB, or of all jobs, as the stores have them."""
    rows = [_row(listed) for listed in list_snapshots(context, context.job_names(job), only)]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    cells = [
        (row["job"], row["snapshot"], row["store"], row["state"], str(row["entries"]),
         show.size(row["content_bytes"]), show.size(row["stored_bytes"]))
        for row in rows
    ]  # fmt: skip
    show.table(
        ("JOB", "SNAPSHOT", "STORE", "STATE", "ENTRIES", "SIZE", "STORED"),
        cells,
        ("ENTRIES", "SIZE", "STORED"),
    )


def _row(listed: Listed) -> dict[str, Any]:
    meta = listed.meta
    return {
        "job": listed.name.job,
        "host": listed.name.host,
        "snapshot": listed.name.id,
        "store": listed.store,
        "state": meta.state if meta else "unreadable",
        "began": listed.name.began.isoformat(),
        "committed": listed.committed.isoformat() if listed.committed else None,
        "entries": meta.entries if meta else 0,
        "content_bytes": meta.content_bytes if meta else 0,
        "stored_bytes": listed.stored_bytes,
        "volumes": len(meta.volumes) if meta else 0,
    }


@backup.command(epilog="Example: leitstand backup restore website --target /srv/restored '*/uploads/*'")
@click.argument("job")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--target", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@snapshot_option
@store_option
@click.option("--numeric-owner", is_flag=True, help="Owners by number, not by name.")
@click.option("--dry-run", is_flag=True, help="Only say how much would be restored; 'ls' names the files.")
@with_context
def restore(
    context: Context,
    job: str,
    patterns: tuple[str, ...],
    target: Path,
    snapshot_id: str | None,
    only: str | None,
    numeric_owner: bool,
    dry_run: bool,
) -> int:
    """Restore a snapshot of JOB, or what the PATTERNs select, into an empty or new folder.

    Owners and all rights are restored when root does it. What has its final name was proven by its SHA-256.
    An interrupted restore into the same target goes on where it stopped.
    """
    live = Restored()
    owners = Owners(may_give=os.geteuid() == 0, numeric=numeric_owner)
    with readable_snapshot(context, context.job(job), job, snapshot_id, only, warn) as snapshot:
        if dry_run:
            return _tell_dry_run(snapshot, target, patterns)
        total = snapshot.meta.content_bytes if not patterns else None
        with show.progress(f"{job} to {target}", lambda: live.content_bytes, total):
            restore_to(snapshot, target, patterns, owners, live)
    for note in live.notes[:PROBLEMS_SHOWN]:
        warn(note)
    if patterns and not live.entries:
        raise LeitstandError("nothing in the snapshot matches", "patterns: docs/backups.md")
    click.echo(
        f"{job}: {live.entries} entries, {show.size(live.content_bytes)} restored to {target}"
        f" from {snapshot.name.id} in {snapshot.store.name}"
    )
    return EXIT_WARNINGS if live.notes else 0


def _tell_dry_run(snapshot: Snapshot, target: Path, patterns: tuple[str, ...]) -> int:
    check_target(target.absolute(), snapshot.name.id)
    selection = Selection(patterns)
    records = [row.record.size for row in snapshot.manifest.rows() if row.record.path in selection]
    click.echo(
        f"{snapshot.name.job}: {len(records)} entries, {show.size(sum(records))} would be restored"
        f" to {target} from {snapshot.name.id} in {snapshot.store.name}"
    )
    return 0
