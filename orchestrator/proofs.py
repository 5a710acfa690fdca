"""Verification shares, drills and what is learnt of a store, with what is remembered of them."""

import time
from datetime import date, datetime
from pathlib import Path

from leitstand.errors import UsageError
from orchestrator.catalog import complete, find
from orchestrator.context import Context, keys_of
from orchestrator.drill import Drilled, drill
from orchestrator.keys import KeyRing
from orchestrator.operations import readable_snapshot
from orchestrator.restore import Restored
from orchestrator.share import Shared, due_slots, verify_share
from orchestrator.snapshot import open_snapshot, read_meta
from orchestrator.sources import open_sources
from orchestrator.sources.files import FilesSource
from orchestrator.spot import Spotted, spot_check
from orchestrator.stores import Store

SPOT_TOLERANCE = 0.1  # a source that gained or lost a tenth of its paths since is looked at by a person


def share_in(context: Context, job_name: str, store: Store, parts: int, today: date, live: Shared) -> None:
    """Verify the share of a store's volumes that is due, and remember when all of it was good."""
    job, facts = context.job(job_name), context.facts()
    known = facts.of(job_name, store.name)
    before = known.verified.get("share")
    last = datetime.fromtimestamp(before, context.fleet.site.zone).date() if before else None
    if last is None and "share" in known.unproven:
        last = date.min  # nothing was ever good: what was found then must be looked at again
    verify_share(store, job_name, job, keys_of(job), parts, due_slots(parts, today, last), live)
    if live.findings:
        facts.not_verified(job_name, store.name, "share", str(live.findings[0]))
    else:
        facts.verified(job_name, store.name, "share", time.time())


def spot_in(
    context: Context, job_name: str, store: Store, snapshot_id: str | None, count: int, live: Spotted
) -> str:
    """Hold files of a snapshot against the live source; its name. Remembered when all was good.

    Raises UsageError for a job that has no files on this host.
    """
    job = context.job(job_name)
    context.require_reach(job)
    opened = open_sources(job, context.fleet.hosts[job.host])
    sources = [source for source in opened if isinstance(source, FilesSource)]
    if not sources:
        raise UsageError(
            f"{job_name} has no files on this host", "--spot compares files with their live source"
        )
    name = find(store, job.host, job_name, snapshot_id)
    with open_snapshot(store, name, keys_of(job)) as snapshot:
        spot_check(snapshot, sources, count, SPOT_TOLERANCE, live)
    facts = context.facts()
    if live.findings:
        facts.not_verified(job_name, store.name, "spot", str(live.findings[0]))
    else:
        facts.verified(job_name, store.name, "spot", time.time())
    return name.id


def drill_job(
    context: Context,
    job_name: str,
    snapshot_id: str | None,
    only: str | None,
    scratch: Path | None,
    live: Restored,
) -> tuple[str, str, Drilled]:
    """Drill a snapshot (the newest by default). The snapshot's name, its store and what was found.

    Only a drill without findings is remembered as one.
    """
    job = context.job(job_name)
    place = scratch or job.drill.scratch or job.scratch
    warnings: list[str] = []
    with readable_snapshot(context, job, job_name, snapshot_id, only, warnings.append) as snapshot:
        result = drill(snapshot, job.drill, place.absolute(), live)
        name, store = snapshot.name.id, snapshot.store.name
    facts = context.facts()
    if result.findings:
        facts.not_verified(job_name, store, "drill", str(result.findings[0]))
    else:
        facts.verified(job_name, store, "drill", time.time())
    return name, store, result


def rebuild_catalog(context: Context, job_name: str, store: Store, keys: KeyRing) -> int:
    """Set what is remembered of a job in a store to what is there; the number of snapshots."""
    job = context.job(job_name)
    listed = list(complete(store, job.host, job_name))
    changes: dict[str, object] = {"snapshots": len(listed), "oldest": 0}
    if listed:
        newest = listed[-1]
        meta, _ = read_meta(store, newest.name, keys)
        ended = datetime.fromisoformat(meta.finished).timestamp()
        changes |= {
            "oldest": listed[0].name.began.timestamp(),
            "last_run": ended,
            "last_run_success": True,
            "last_success": ended,
            "last_snapshot": newest.name.id,
            "duration_seconds": ended - datetime.fromisoformat(meta.started).timestamp(),
            "stored_bytes": meta.archive_bytes + meta.manifest_bytes,
            "source_bytes": meta.content_bytes,
            "files": meta.entries,
        }
    context.facts().update(job_name, store.name, **changes)
    return len(listed)
