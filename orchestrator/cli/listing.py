"""``leitstand backup list``: the snapshots, as the stores have them."""

import json
from datetime import tzinfo
from typing import Any

import click

from leitstand.errors import EXIT_FAILED, LeitstandError
from leitstand.options import json_option
from leitstand.tables import table
from orchestrator.cli.options import store_option, warn, warn_of, with_context
from orchestrator.config.sizes import size
from orchestrator.repository.catalog import NO_KEYS, Listed
from orchestrator.state.context import Context
from orchestrator.state.operations import list_snapshots


@click.command("list", epilog="Example: leitstand backup list website")
@click.argument("job", required=False)
@store_option
@json_option
@with_context
def list_(context: Context, job: str | None, only: str | None, as_json: bool) -> int:
    """List the snapshots of JOB, or of all jobs, in the stores, and name those that are gone.

    Each is compared with its COMMIT: complete, partial (files are missing), not proven (made with other keys,
    or there are no keys here), forged, or unreadable. Exit codes: 0 all stores were listed, 3 one could
    not be listed.
    """
    errors: list[LeitstandError] = []
    notes: list[str] = []
    found = list(list_snapshots(context, context.job_names(job), only, errors.append, notes.append))
    rows = [_row(listed, context.fleet.site.zone) for listed in found]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print(rows)
    for listed in found:
        if listed.doubt and listed.doubt != NO_KEYS:
            warn(f"{listed.name.job}: {listed.store}: {listed.id} is {listed.state}: {listed.doubt}")
    for line in notes:
        warn(line)
    for error in errors:
        warn_of(error)
    return EXIT_FAILED if errors else 0


def _print(rows: list[dict[str, Any]]) -> None:
    cells = [
        (row["job"], row["snapshot"], row["store"], row["state"], str(row["generation"] or "?"),
         str(row["entries"]), size(row["content_bytes"]), size(row["stored_bytes"]))
        for row in rows
    ]  # fmt: skip
    table(
        ("JOB", "SNAPSHOT", "STORE", "STATE", "KEYS", "ENTRIES", "SIZE", "STORED"),
        cells,
        ("KEYS", "ENTRIES", "SIZE", "STORED"),
    )


def _row(listed: Listed, zone: tzinfo) -> dict[str, Any]:
    meta = listed.meta
    return {
        "job": listed.name.job,
        "host": listed.name.host,
        "snapshot": listed.name.id,
        "store": listed.store,
        "state": listed.state,
        "doubt": listed.doubt or None,
        "generation": meta.generation if meta else None,
        "began": listed.name.began.astimezone(zone).isoformat(),
        "committed": listed.committed.astimezone(zone).isoformat() if listed.committed else None,
        "entries": meta.entries if meta else 0,
        "content_bytes": meta.content_bytes if meta else 0,
        "stored_bytes": listed.stored_bytes,
        "volumes": listed.volumes,
    }
