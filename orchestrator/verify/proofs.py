"""Verification shares, drills and what is learnt of a store, with what is remembered of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from leitstand.errors import UsageError
from orchestrator.config.settings import FilesSettings
from orchestrator.repository.catalog import newest, newest_of
from orchestrator.repository.commit import Meta
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, SnapshotName, parse_key
from orchestrator.repository.snapshot import Snapshot, open_snapshot
from orchestrator.restore.restore import Restored
from orchestrator.sources import open_sources
from orchestrator.state.context import Context, keys_of
from orchestrator.state.facts import StoreFacts, in_a_line
from orchestrator.state.lookout import look
from orchestrator.state.operations import readable_snapshot
from orchestrator.stores import Store
from orchestrator.verify.drill import Drilled, Verdict, drill, verdict_of
from orchestrator.verify.full import Finding, Verified, verify_snapshot
from orchestrator.verify.rotation import Shared, due_slots, verify_share
from orchestrator.verify.spot import LiveFiles, Spotted, spot_check

# Of a week; less than seven days, as a verification does not start at the same second each time.
SPOT_SECONDS = 6.5 * 86400
SPOT_TOLERANCE = 0.1  # if a source gained or lost a tenth of its paths since, a person should look at it


def verify_in(context: Context, job_name: str, store: Store, snapshot_id: str | None, live: Verified) -> str:
    """Read a snapshot (the newest by default) back from one store, every byte of it; its name.

    With the newest one all others must be there, too, and none may claim to be newer that is not proven.
    """
    job = context.job(job_name)
    with _noting_failure(context, job_name, store.name, "full", snapshot_id):
        name, found = _find(context, job_name, store, snapshot_id)
        with open_snapshot(store, name, keys_of(job)) as snapshot:
            verify_snapshot(snapshot, live)
            _note(context, snapshot, "full", live.findings, is_newest=snapshot_id is None)
    what = str(live.findings[0]) if live.findings else ""
    context.facts().damaged(job_name, store.name, name.id, what)
    live.beside += found
    return name.id


def _find(
    context: Context, job_name: str, store: Store, snapshot_id: str | None
) -> tuple[SnapshotName, list[Finding]]:
    """The snapshot named, or the newest that is proven, with what else is wrong in the store."""
    host = context.job(job_name).host
    if snapshot_id is not None:
        return SnapshotName(host, job_name, snapshot_id), []
    seen = look(context, job_name, store, keys_of(context.job(job_name)))
    passed_over: list[str] = []
    name = newest_of(store.name, job_name, seen.listed, passed_over.append).name
    where = f"{host}/{job_name}"
    return name, [Finding(where, what) for what in (*seen.lost.values(), *passed_over)]


def share_in(context: Context, job_name: str, store: Store, parts: int, today: date, live: Shared) -> None:
    """Verify the share of a store's volumes that is due, and remember when all of it was good."""
    job, facts = context.job(job_name), context.facts()
    known = facts.of(job_name, store.name)
    before = known.verified.get("share")
    last = datetime.fromtimestamp(before, context.fleet.site.zone).date() if before else None
    if last is None and "share" in known.unproven:
        last = date.min  # nothing was ever good: earlier findings must be checked again
    with _noting_failure(context, job_name, store.name, "share", None):
        seen = look(context, job_name, store, keys_of(job))
        verify_share(store, seen.listed, keys_of(job), parts, due_slots(parts, today, last), live)
    for finding in live.findings:
        volume = parse_key(finding.where)
        if volume is not None:
            facts.damaged(job_name, store.name, volume[0].id, str(finding))
    if live.findings:
        facts.not_verified(job_name, store.name, "share", str(live.findings[0]))
    else:
        facts.verified(job_name, store.name, "share", time.time())
    live.beside += [Finding(f"{job.host}/{job_name}", what) for what in seen.lost.values()]


def spot_in(
    context: Context, job_name: str, store: Store, snapshot_id: str | None, count: int, live: Spotted
) -> str:
    """Hold files of a snapshot against the live source; its name. UsageError for a job without files."""
    job = context.job(job_name)
    context.require_reach(job)
    opened = open_sources(job, context.fleet.hosts[job.host], context.folders(job))
    sources = [source for source in opened if isinstance(source, LiveFiles)]
    if not sources:
        raise UsageError(f"{job_name} has no files", "--spot compares files with their live source")
    with _noting_failure(context, job_name, store.name, "spot", snapshot_id):
        name, found = _find(context, job_name, store, snapshot_id)
        with open_snapshot(store, name, keys_of(job)) as snapshot:
            spot_check(snapshot, sources, count, SPOT_TOLERANCE, live)
            _note(context, snapshot, "spot", live.findings, is_newest=snapshot_id is None)
    live.beside += found
    return name.id


def spot_is_due(context: Context, job_name: str, store: str) -> bool:
    """Whether a job has files that were not compared with their live source for a week."""
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
    warn: Callable[[str], None],
) -> tuple[str, str, Drilled]:
    """Drill a snapshot (the newest by default). The snapshot's name, its store and what was found.

    ``warn`` is given a line for each store that could not give the snapshot.
    """
    job = context.job(job_name)
    place = scratch or job.drill.scratch or job.scratch
    with readable_snapshot(context, job, job_name, snapshot_id, only, warn) as snapshot:
        name, store = snapshot.name.id, snapshot.store.name
        with _noting_failure(context, job_name, store, "drill", snapshot_id):
            try:
                result = drill(snapshot, job.drill, place.absolute(), live)
            except Exception as error:
                _note_verdict(context, snapshot, verdict_of(error), is_newest=snapshot_id is None)
                raise
            _note(context, snapshot, "drill", result.findings, is_newest=snapshot_id is None)
            _note_verdict(context, snapshot, result.verdict, is_newest=snapshot_id is None)
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


def _note(
    context: Context, snapshot: Snapshot, level: str, findings: Sequence[Finding], *, is_newest: bool
) -> None:
    """Remember a proof. One of an older snapshot says nothing of the newest."""
    facts, store, name = context.facts(), snapshot.store, snapshot.name
    if not findings:
        facts.proven(name.job, store.name, level, _made(snapshot))
    if not is_newest and not _is_newest(snapshot):
        return
    if findings:
        facts.not_verified(name.job, store.name, level, str(findings[0]))
    else:
        facts.verified(name.job, store.name, level, time.time())


def _note_verdict(context: Context, snapshot: Snapshot, verdict: Verdict, *, is_newest: bool) -> None:
    if is_newest or _is_newest(snapshot):
        name = snapshot.name
        drilled = verdict.severity
        context.facts().update(name.job, snapshot.store.name, lambda facts: replace(facts, drilled=drilled))


def _is_newest(snapshot: Snapshot) -> bool:
    name = snapshot.name
    return name == newest(snapshot.store, name.host, name.job, snapshot.keys, _unheeded).name


def _unheeded(line: str) -> None:
    """What was skipped was reported before."""


def _made(snapshot: Snapshot) -> float:
    """When a snapshot was made; of a machine whose clock was ahead, by the store's time."""
    commit = snapshot.store.stat(snapshot.name.key(COMMIT))
    began = snapshot.name.began
    return min(began, commit.modified if commit else began).timestamp()


def rebuild_catalog(
    context: Context, job_name: str, store: Store, keys: KeyRing, warn: Callable[[str], None]
) -> int:
    """Set what is remembered of a job in a store to what is there; the number of proven snapshots.

    What was missed until now is missed no more. ``warn`` is given a line for each that is missed by those
    that are there, or passed over.
    """
    seen = look(context, job_name, store, keys, forget=True)
    for what in seen.lost.values():
        warn(f"{job_name}: {store.name}: {what}; it will not be missed any more")
    good = [each for each in seen.listed if not each.doubt]
    if good:
        meta = newest_of(store.name, job_name, seen.listed, warn).meta
        assert meta is not None  # noqa: S101 - it is proven
        context.facts().update(job_name, store.name, lambda facts: _with_run_of(meta, facts))
    return len(good)


def _with_run_of(meta: Meta, facts: StoreFacts) -> StoreFacts:
    """These facts with what a snapshot tells of the run that made it."""
    ended = datetime.fromisoformat(meta.finished).timestamp()
    if ended > facts.last_run:  # else this host knows of that run, or of a later one that failed
        facts = replace(facts, last_run=ended, last_run_success=True, problem="")
    return replace(
        facts,
        last_success=ended,
        last_snapshot=meta.snapshot,
        duration_seconds=ended - datetime.fromisoformat(meta.started).timestamp(),
        stored_bytes=meta.archive_bytes + meta.manifest_bytes,
        source_bytes=meta.content_bytes,
        files=meta.entries,
    )
