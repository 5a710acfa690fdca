"""Verification shares, drills and what is learnt of a store, with what is remembered of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

from leitstand.errors import UsageError
from orchestrator.catalog import complete, find, newest
from orchestrator.config import FilesSource as FilesSettings
from orchestrator.context import Context, keys_of
from orchestrator.drill import Drilled, Verdict, drill, verdict_of
from orchestrator.facts import in_a_line, kept_of
from orchestrator.keys import KeyRing
from orchestrator.layout import COMMIT, parse_key
from orchestrator.operations import readable_snapshot
from orchestrator.restore import Restored
from orchestrator.share import Shared, due_slots, verify_share
from orchestrator.snapshot import Snapshot, open_snapshot, read_meta
from orchestrator.sources import open_sources
from orchestrator.spot import LiveFiles, Spotted, spot_check
from orchestrator.stores import Store
from orchestrator.verify import Finding, Verified, verify_snapshot

# Of a week; less than seven days, as a verification does not start at the same second each time.
SPOT_SECONDS = 6.5 * 86400
SPOT_TOLERANCE = 0.1  # a source that gained or lost a tenth of its paths since is looked at by a person


def verify_in(context: Context, job_name: str, store: Store, snapshot_id: str | None, live: Verified) -> str:
    """Read a snapshot (the newest by default) back from one store, every byte of it; its name."""
    job = context.job(job_name)
    with _noting_failure(context, job_name, store.name, "full", snapshot_id):
        name = find(store, job.host, job_name, snapshot_id)
        with open_snapshot(store, name, keys_of(job)) as snapshot:
            verify_snapshot(snapshot, live)
            _note(context, snapshot, "full", live.findings)
    found = str(live.findings[0]) if live.findings else ""
    context.facts().damaged(job_name, store.name, name.id, found)
    return name.id


def share_in(context: Context, job_name: str, store: Store, parts: int, today: date, live: Shared) -> None:
    """Verify the share of a store's volumes that is due, and remember when all of it was good."""
    job, facts = context.job(job_name), context.facts()
    known = facts.of(job_name, store.name)
    before = known.verified.get("share")
    last = datetime.fromtimestamp(before, context.fleet.site.zone).date() if before else None
    if last is None and "share" in known.unproven:
        last = date.min  # nothing was ever good: what was found then must be looked at again
    with _noting_failure(context, job_name, store.name, "share", None):
        verify_share(store, job_name, job, keys_of(job), parts, due_slots(parts, today, last), live)
    for finding in live.findings:
        volume = parse_key(finding.where)
        if volume is not None:
            facts.damaged(job_name, store.name, volume[0].id, str(finding))
    if live.findings:
        facts.not_verified(job_name, store.name, "share", str(live.findings[0]))
    else:
        facts.verified(job_name, store.name, "share", time.time())


def spot_in(
    context: Context, job_name: str, store: Store, snapshot_id: str | None, count: int, live: Spotted
) -> str:
    """Hold files of a snapshot against the live source; its name.

    Raises UsageError for a job that has no files.
    """
    job = context.job(job_name)
    context.require_reach(job)
    opened = open_sources(job, context.fleet.hosts[job.host], context.folders(job))
    sources = [source for source in opened if isinstance(source, LiveFiles)]
    if not sources:
        raise UsageError(f"{job_name} has no files", "--spot compares files with their live source")
    with _noting_failure(context, job_name, store.name, "spot", snapshot_id):
        name = find(store, job.host, job_name, snapshot_id)
        with open_snapshot(store, name, keys_of(job)) as snapshot:
            spot_check(snapshot, sources, count, SPOT_TOLERANCE, live)
            _note(context, snapshot, "spot", live.findings)
    return name.id


def spot_is_due(context: Context, job_name: str, store: str) -> bool:
    """Whether a job has files that were not held against their live source for a week."""
    has_files = any(isinstance(source, FilesSettings) for source in context.job(job_name).sources)
    last = context.facts().of(job_name, store).verified.get("spot", 0)
    return has_files and not 0 <= time.time() - last < SPOT_SECONDS


def drill_job(
    context: Context,
    job_name: str,
    snapshot_id: str | None,
    only: str | None,
    scratch: Path | None,
    live: Restored,
    tell: Callable[[str], None],
) -> tuple[str, str, Drilled]:
    """Drill a snapshot (the newest by default). The snapshot's name, its store and what was found.

    ``tell`` is given a line for each store that could not give the snapshot.
    """
    job = context.job(job_name)
    place = scratch or job.drill.scratch or job.scratch
    with readable_snapshot(context, job, job_name, snapshot_id, only, tell) as snapshot:
        name, store = snapshot.name.id, snapshot.store.name
        with _noting_failure(context, job_name, store, "drill", snapshot_id):
            try:
                result = drill(snapshot, job.drill, place.absolute(), live)
            except Exception as error:
                _note_verdict(context, snapshot, verdict_of(error))
                raise
            _note(context, snapshot, "drill", result.findings)
            _note_verdict(context, snapshot, result.verdict)
    return name, store, result


@contextmanager
def _noting_failure(
    context: Context, job_name: str, store: str, level: str, snapshot_id: str | None
) -> Iterator[None]:
    """A proof of the newest snapshot that ends early has proven nothing: the status says why."""
    context.facts().publish()  # with the start that comes after this one
    try:
        yield
    except Exception as error:
        if snapshot_id is None:
            context.facts().not_verified(job_name, store, level, in_a_line(error))
        raise


def _note(context: Context, snapshot: Snapshot, level: str, findings: Sequence[Finding]) -> None:
    """Remember a proof. One of an older snapshot says nothing of the newest."""
    facts, store, name = context.facts(), snapshot.store, snapshot.name
    if not findings:
        facts.proven(name.job, store.name, level, _made(snapshot))
    if name != newest(store, name.host, name.job):
        return
    if findings:
        facts.not_verified(name.job, store.name, level, str(findings[0]))
    else:
        facts.verified(name.job, store.name, level, time.time())


def _note_verdict(context: Context, snapshot: Snapshot, verdict: Verdict) -> None:
    store, name = snapshot.store, snapshot.name
    if name == newest(store, name.host, name.job):
        context.facts().update(name.job, store.name, drilled=verdict.severity)


def _made(snapshot: Snapshot) -> float:
    """When a snapshot was made; of a machine whose clock was ahead, by the store's time."""
    commit = snapshot.store.stat(snapshot.name.key(COMMIT))
    began = snapshot.name.began
    return min(began, commit.modified if commit else began).timestamp()


def rebuild_catalog(context: Context, job_name: str, store: Store, keys: KeyRing) -> int:
    """Set what is remembered of a job in a store to what is there; the number of snapshots."""
    job = context.job(job_name)
    listed = list(complete(store, job.host, job_name))
    changes: dict[str, object] = {
        "snapshots": len(listed),
        "oldest": 0,
        "damaged": kept_of(each.name.id for each in listed),
    }
    if listed:
        last = listed[-1]
        meta, _ = read_meta(store, last.name, keys)
        ended = datetime.fromisoformat(meta.finished).timestamp()
        changes |= {
            "oldest": listed[0].name.began.timestamp(),
            "last_success": ended,
            "last_snapshot": last.name.id,
            "duration_seconds": ended - datetime.fromisoformat(meta.started).timestamp(),
            "stored_bytes": meta.archive_bytes + meta.manifest_bytes,
            "source_bytes": meta.content_bytes,
            "files": meta.entries,
        }
        known = context.facts().of(job_name, store.name)
        if ended > known.last_run:  # else this host knows of that run, or of a later one that failed
            changes |= {"last_run": ended, "last_run_success": True, "problem": ""}
    context.facts().update(job_name, store.name, **changes)
    return len(listed)
