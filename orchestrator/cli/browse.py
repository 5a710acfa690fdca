"""``leitstand backup ls|find|cat|diff``: look into snapshots without restoring them."""

import codecs
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from typing import Any, BinaryIO

import click

from leitstand.errors import EXIT_OK, EXIT_WARNINGS, LeitstandError, UsageError
from leitstand.options import json_option
from leitstand.tables import terminal_width
from leitstand.text import visible
from orchestrator.archive import FileRecord, Kind
from orchestrator.archive.holes import zeros
from orchestrator.archive.sparse import Unpacking
from orchestrator.cli import output
from orchestrator.cli.options import snapshot_option, store_option, warn, warn_of, with_context
from orchestrator.repository.compare import Change, compare
from orchestrator.repository.order import in_order
from orchestrator.repository.snapshot import Snapshot
from orchestrator.sources.patterns import Selection
from orchestrator.state.context import Context
from orchestrator.state.operations import every_snapshot, list_snapshots, readable_snapshot

_TYPES = {
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}


@click.command(epilog="Example: leitstand backup ls website '*/uploads/*'")
@click.argument("job")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@snapshot_option
@store_option
@json_option
@with_context
def ls(
    context: Context,
    job: str,
    patterns: tuple[str, ...],
    snapshot_id: str | None,
    only: str | None,
    as_json: bool,
) -> int:
    """List the contents of a snapshot of JOB, or the part that the PATTERNs select.

    Exit codes: 0 all good, 1 nothing matches.
    """
    found = False
    with readable_snapshot(context, context.job(job), job, snapshot_id, only, warn) as snapshot:
        for record in _selected(snapshot, patterns):
            found = True
            _print(record, context.fleet.site.zone, as_json)
    if patterns and not found:
        click.echo("nothing in the snapshot matches; patterns: docs/backups.md", err=True)
        return EXIT_WARNINGS
    return EXIT_OK


@click.command(epilog="Example: leitstand backup find website 'index.php'")
@click.argument("job")
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@store_option
@json_option
@with_context
def find(context: Context, job: str, patterns: tuple[str, ...], only: str | None, as_json: bool) -> int:
    """Show which snapshots of JOB have files that match the PATTERNs, oldest first.

    Each snapshot is read from the first store that can provide it. Exit codes: 0 found, 1 not found, 3 a
    snapshot could not be read.
    """
    found = False
    for snapshot in every_snapshot(context, job, only, warn):
        for record in _selected(snapshot, patterns):
            found = True
            place = {"snapshot": snapshot.name.id, "store": snapshot.store.name}
            _print(record, context.fleet.site.zone, as_json, place)
    return 0 if found else EXIT_WARNINGS


@click.command(epilog="Example: leitstand backup cat website /var/www/index.php > index.php")
@click.argument("job")
@click.argument("path")
@snapshot_option
@store_option
@with_context
def cat(context: Context, job: str, path: str, snapshot_id: str | None, only: str | None) -> None:
    """Write one file of a snapshot to standard output; it is verified before the first byte."""
    with readable_snapshot(context, context.job(job), job, snapshot_id, only, warn) as snapshot:
        row = next(snapshot.manifest.rows(lambda each: _is(each, path)), None)
        if row is None:
            raise LeitstandError(f"{path} is not in {snapshot.name.id}", f"see: leitstand backup ls {job}")
        if row.record.metadata.kind is not Kind.FILE:
            raise LeitstandError(f"{path} is a {row.record.metadata.kind}, not a file")
        with snapshot.layer(row.layer).open(row.record) as content:
            _write(content, row.record.metadata.sparse)
        sys.stdout.flush()


def _write(content: BinaryIO, sparse: int) -> None:
    write = _shown() if sys.stdout.isatty() else sys.stdout.buffer.write
    unpacking = Unpacking(sparse, write, lambda length: [write(block) for block in zeros(0, length)])
    while block := content.read(1 << 20):
        (unpacking.feed if sparse else write)(block)
    unpacking.finish()


def _shown() -> Callable[[bytes], int]:
    """Writes content as text, like all output to a terminal: it may be a log that others wrote to."""
    text = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    return lambda data: sys.stdout.write(text.decode(data))


def _is(path: bytes, wanted: str) -> bool:
    return os.fsencode(wanted) in (path, b"/" + path.partition(b"/")[2])


@click.command(
    epilog="Example: leitstand backup diff website 20261120T030000Z-aaaaaaaa 20261121T030000Z-bbbbbbbb"
)
@click.argument("job")
@click.argument("older", required=False)
@click.argument("newer", required=False)
@store_option
@json_option
@with_context
def diff(
    context: Context, job: str, older: str | None, newer: str | None, only: str | None, as_json: bool
) -> int:
    """Show the differences between two snapshots of JOB: the last two, or from OLDER to the newest.

    '+' new, '-' gone, 'M' changed content, 'm' changed owner, mode or times. Exit codes: 0 the same, 1
    different.
    """
    settings = context.job(job)
    if older is None:
        older, newer = _last_two(context, job, only)
    different = False
    with (
        readable_snapshot(context, settings, job, older, only, warn) as before,
        readable_snapshot(context, settings, job, newer, only, warn) as after,
    ):
        for change in compare(before.manifest.rows(), after.manifest.rows()):
            different = True
            click.echo(_change(change, as_json))
    return EXIT_WARNINGS if different else 0


def _last_two(context: Context, job: str, only: str | None) -> tuple[str, str]:
    listed = list_snapshots(context, [job], only, warn_of, warn)
    found = in_order({each.id: each for each in listed if not each.doubt}.values())
    if len(found) < 2:
        raise UsageError(f"{job}: it needs two snapshots to compare", "see: leitstand backup list")
    return found[-2].id, found[-1].id


def _change(change: Change, as_json: bool) -> str:
    path = os.fsdecode(change.path)
    if as_json:
        return json.dumps({"change": change.kind, "path": path})
    return f"{change.kind}  {visible(path)}"


def _selected(snapshot: Snapshot, patterns: tuple[str, ...]) -> Iterator[FileRecord]:
    selection = Selection(snapshot.literal_first(patterns))
    return (row.record for row in snapshot.manifest.rows(selection.__contains__))


def _facts(record: FileRecord, zone: tzinfo) -> dict[str, Any]:
    metadata = record.metadata
    return {
        "path": os.fsdecode(metadata.path),
        "kind": str(metadata.kind),
        "size": metadata.sparse or record.size,
        "mode": f"{stat.S_IMODE(metadata.mode):04o}",
        "user": metadata.user or metadata.uid,
        "group": metadata.group or metadata.gid,
        "mtime": _iso(metadata.mtime_ns / 1e9, zone),
        "sha256": record.sha256.hex() if metadata.kind is Kind.FILE and not metadata.sparse else None,
        "link": os.fsdecode(metadata.link) or None,
        "problem": record.problem or None,
    }


def _iso(seconds: float, zone: tzinfo) -> str | None:
    """None for a time beyond the calendar, which a file may have."""
    try:
        return datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError):
        return None


def _print(record: FileRecord, zone: tzinfo, as_json: bool, found: dict[str, str] | None = None) -> None:
    """An entry of a snapshot; ``found`` names the snapshot and store, for ``find``."""
    if as_json:
        click.echo(json.dumps({**(found or {}), **_facts(record, zone)}))
        return
    name = [found["snapshot"]] if found else []
    about, path = _about(record, zone)
    line, width = "  ".join([*name, f"{about} {path}"]), terminal_width()
    narrow = width is not None and len(line) > width
    # Two lines: a path stays whole, also one with spaces.
    click.echo("\n    ".join([*name, path, " ".join(about.split())]) if narrow else line)


def _about(record: FileRecord, zone: tzinfo) -> tuple[str, str]:
    """Mode, owner, size and time as ``ls -l`` has them; the path, and where a link leads."""
    metadata = record.metadata
    # A device's type is in its mode.
    kind = _TYPES.get(metadata.kind) or stat.S_IFMT(metadata.mode) or stat.S_IFREG
    mode = stat.filemode(kind | stat.S_IMODE(metadata.mode))
    owner = f"{metadata.user or metadata.uid}:{metadata.group or metadata.gid}"
    when = output.moment(metadata.mtime_ns / 1e9, zone)
    arrow = f" -> {os.fsdecode(metadata.link)}" if metadata.link else ""
    path = visible(os.fsdecode(metadata.path) + arrow)
    return f"{mode} {visible(owner):<17} {metadata.sparse or record.size:>12} {when}", path
