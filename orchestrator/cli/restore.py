"""``leitstand backup restore``: bring a snapshot back."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from leitstand.errors import EXIT_WARNINGS, LeitstandError
from leitstand.options import json_option
from leitstand.text import visible
from orchestrator.archive import Kind
from orchestrator.cli import output
from orchestrator.cli.options import snapshot_option, store_option, warn, with_context
from orchestrator.config.sizes import size
from orchestrator.repository.snapshot import Snapshot
from orchestrator.restore.extra import Extra
from orchestrator.restore.into import Existing, extra_in, restore_to
from orchestrator.restore.owners import Owners
from orchestrator.restore.restore import Restored, check_target
from orchestrator.sources.patterns import Selection
from orchestrator.state.context import Context
from orchestrator.state.operations import readable_snapshot

PROBLEMS_SHOWN = 10


@click.command(epilog="Example: leitstand backup restore website --target /srv/restored '*/uploads/*'")
@click.argument("job")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--target", required=True, type=click.Path(path_type=Path), help="An empty or new folder.")
@snapshot_option
@store_option
@click.option("--numeric-owner", is_flag=True, help="Restore owners by number, not by name.")
@click.option("--into-existing", "overwrite", is_flag=True, help="Allow a target that is not empty.")
@click.option("--delete-extra", is_flag=True, help="Remove files in the target that are not in the snapshot.")
@click.option(
    "--outside-links",
    type=click.Choice(["keep", "refuse"]),
    default="keep",
    show_default=True,
    help="Restore or refuse devices and symbolic links that lead out of the target; the links are listed.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out matching paths.")
@click.option("--dry-run", is_flag=True, help="Only show how much would be restored and removed.")
@json_option
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
    outside_links: str,
    exclude: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Restore a snapshot of JOB, or what the PATTERNs select, into an empty or new folder.

    As root, owners and all permissions are restored. A file gets its final name only after its SHA-256 has
    been checked. An interrupted restore into the same target continues where it stopped. --delete-extra
    returns the folder of an earlier restore of JOB to the state of the snapshot; any other folder needs
    --into-existing, too.

    Exit codes: 0 all good, 1 something was left out, or a PATTERN matches nothing (both are named), 3 failed.
    """
    live, existing = Restored(), Existing(overwrite, delete_extra)
    owners = Owners(may_give=os.geteuid() == 0, numeric=numeric_owner)
    with readable_snapshot(context, context.job(job), job, snapshot_id, only, warn) as snapshot:
        selection = Selection(snapshot.literal_first(patterns), snapshot.literal_first(exclude))
        if dry_run:
            return _print_dry_run(snapshot, target.absolute(), patterns, selection, existing, as_json)
        total = snapshot.meta.content_bytes if selection.all else None
        with output.progress(f"{job} to {target}", lambda: live.content_bytes, total):
            refuse = outside_links == "refuse"
            restore_to(snapshot, target, selection, owners, live, existing, refuse_outside=refuse)
        live.notes += _without_match(snapshot, patterns)
    return _print(snapshot, target, patterns, live, as_json)


def _print(snapshot: Snapshot, target: Path, patterns: tuple[str, ...], live: Restored, as_json: bool) -> int:
    _warn_of_notes(live)
    if patterns and not live.entries:
        raise LeitstandError("nothing in the snapshot matches", "patterns: docs/backups.md")
    if as_json:
        facts = {"entries": live.entries, "content_bytes": live.content_bytes, "removed": live.removed}
        notes = {"notes": live.notes, **_outside(live)}
        click.echo(json.dumps({**_about(snapshot, target), **facts, **notes}))
        return EXIT_WARNINGS if live.notes else 0
    removed = f", {live.removed} removed there" if live.removed else ""
    click.echo(
        f"{snapshot.name.job}: {live.entries} entries, {size(live.content_bytes)} restored to {target}"
        f" from {snapshot.name.id} in {snapshot.store.name}{removed}"
    )
    return EXIT_WARNINGS if live.notes else 0


def _without_match(snapshot: Snapshot, patterns: tuple[str, ...]) -> list[str]:
    """A note for each pattern that selects nothing while others do: it may be mistyped."""
    if len(patterns) < 2:
        return []
    meant = zip(patterns, snapshot.literal_first(patterns), strict=True)
    waiting = {pattern: Selection([each]) for pattern, each in meant}
    for row in snapshot.manifest.rows(lambda path: any(path in each for each in waiting.values())):
        for pattern in [pattern for pattern, selection in waiting.items() if row.record.path in selection]:
            del waiting[pattern]
        if not waiting:
            break
    found_any = len(waiting) < len(patterns)
    return [f"nothing in the snapshot matches {pattern}" for pattern in waiting] if found_any else []


def _warn_of_notes(live: Restored) -> None:
    _warn_of_some(live.notes, len(live.notes))
    if live.outside_links:
        warn(f"{live.outside_links} symbolic links lead out of the target:")
        _warn_of_some(live.outside, live.outside_links)


def _warn_of_some(lines: Sequence[str], count: int) -> None:
    for line in lines[:PROBLEMS_SHOWN]:
        warn(line)
    if count > PROBLEMS_SHOWN:
        warn(f"… and {count - PROBLEMS_SHOWN} more; --json lists them")


def _outside(live: Restored) -> dict[str, object]:
    return {"outside_links": live.outside_links, "outside": live.outside}


def _about(snapshot: Snapshot, target: Path) -> dict[str, str]:
    name = snapshot.name
    return {"job": name.job, "snapshot": name.id, "store": snapshot.store.name, "target": str(target)}


def _print_dry_run(
    snapshot: Snapshot,
    target: Path,
    patterns: tuple[str, ...],
    selection: Selection,
    existing: Existing,
    as_json: bool,
) -> int:
    live = Restored()
    extras: list[Extra] = []
    if not existing.check(snapshot, target, selection):
        check_target(target, snapshot.name.id)
    elif existing.delete_extra:
        extras = extra_in(snapshot, target, live.notes)
    _would_restore(snapshot, selection, live)
    live.notes += _without_match(snapshot, patterns)
    if as_json:
        removed = [os.fsdecode(extra.path) for extra in extras]
        facts = {"entries": live.entries, "content_bytes": live.content_bytes, "would_remove": removed}
        click.echo(json.dumps({**_about(snapshot, target), **facts, **_outside(live)}))
        return 0
    for extra in extras:
        name = visible(os.fsdecode(extra.path))
        click.echo(f"would be removed: {name}{'/ with everything in it' if extra.folder else ''}")
    _warn_of_notes(live)
    click.echo(
        f"{snapshot.name.job}: {live.entries} entries, {size(live.content_bytes)} would be restored"
        f" to {target} from {snapshot.name.id} in {snapshot.store.name}"
    )
    return 0


def _would_restore(snapshot: Snapshot, selection: Selection, live: Restored) -> None:
    for row in snapshot.manifest.rows(selection.__contains__):
        live.entries += 1
        # A link's text is content in the archive, but not in the target.
        live.content_bytes += row.record.size if row.record.metadata.kind is Kind.FILE else 0
        live.leads_outside(row.record.metadata)
