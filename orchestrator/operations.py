"""What the commands and the scheduler do, with locks, facts and metrics around the bare work."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from leitstand.errors import LeitstandError
from orchestrator.catalog import Listed, complete, find, scan
from orchestrator.config import Job
from orchestrator.context import Context, keys_of
from orchestrator.lock import job_lock
from orchestrator.owners import Owners
from orchestrator.restore import Restored, restore
from orchestrator.run import Plan, Progress, RunResult, run_job
from orchestrator.snapshot import NoSuchSnapshotError, Snapshot, open_snapshot
from orchestrator.sources import open_sources
from orchestrator.sources.patterns import Selection
from orchestrator.stores import Store, StoreError
from orchestrator.verify import Verified, verify_snapshot


def back_up(context: Context, job_name: str, progress: Progress) -> RunResult:
    """Run a job and record how it went, for each store. Raises LeitstandError when no snapshot was made."""
    job = context.job(job_name)
    facts = context.facts()
    with job_lock(context.state, job_name):
        start = time.monotonic()
        try:
            context.require_reach(job)
            keys = keys_of(job)
            sources = open_sources(job, context.fleet.hosts[job.host])
            with context.stores(job) as stores:
                result = run_job(Plan(job_name, job, sources, stores, keys), progress)
                _record_success(context, result, stores, time.monotonic() - start)
        except LeitstandError as error:
            for name in job.stores:
                facts.update(
                    job_name, name, last_run=time.time(), last_run_success=False, problem=error.message
                )
            raise
    for name, store_error in result.failed.items():
        facts.update(
            job_name, name, last_run=time.time(), last_run_success=False, problem=store_error.message
        )
    return result


def _record_success(context: Context, result: RunResult, stores: list[Store], seconds: float) -> None:
    facts, now = context.facts(), time.time()
    for store in stores:
        if store.name not in result.stored:
            continue
        facts.update(
            result.name.job,
            store.name,
            last_run=now,
            last_run_success=True,
            last_success=now,
            last_snapshot=result.name.id,
            duration_seconds=round(seconds, 3),
            stored_bytes=result.meta.archive_bytes + result.meta.manifest_bytes,
            source_bytes=result.meta.content_bytes,
            files=result.meta.entries,
            warnings=result.problem_count,
            problem=f"{result.problem_count} files could not be read" if result.problem_count else "",
            **_counts(store, result),
        )
        facts.verified(result.name.job, store.name, "presence", now)


def _counts(store: Store, result: RunResult) -> dict[str, float]:
    """How many snapshots there are and since when; nothing where these credentials may not list."""
    try:
        names = [each for each in scan(store, result.name.host, result.name.job) if each.committed]
    except StoreError:
        return {}
    return {"snapshots": len(names), "oldest": names[0].name.began.timestamp()} if names else {}


def list_snapshots(context: Context, job_names: list[str], only: str | None = None) -> Iterator[Listed]:
    """Every complete snapshot of these jobs, store by store, oldest first."""
    for job_name in job_names:
        job = context.job(job_name)
        with context.stores(job, only if only in job.stores else None) as stores:
            for store in stores:
                yield from complete(store, job.host, job_name)


@dataclass(frozen=True)
class Check:
    """A verification of one snapshot in one store."""

    store: str
    snapshot: str
    result: Verified


def verify_in(
    context: Context, job_name: str, store: Store, snapshot_id: str | None, live: Verified
) -> Check:
    """Read a snapshot (the newest by default) back from one store, and record it when all is good."""
    job = context.job(job_name)
    name = find(store, job.host, job_name, snapshot_id)
    with open_snapshot(store, name, keys_of(job)) as snapshot:
        result = verify_snapshot(snapshot, live)
    facts = context.facts()
    if result.findings:
        facts.update(job_name, store.name, problem=f"verify: {result.findings[0]}")
    else:
        facts.verified(job_name, store.name, "full", time.time())
    return Check(store.name, name.id, result)


@contextmanager
def readable_snapshot(
    context: Context,
    job: Job,
    job_name: str,
    snapshot_id: str | None,
    only: str | None,
    tell: Callable[[str], None],
) -> Iterator[Snapshot]:
    """A snapshot from the first of the job's stores that can give it.

    Raises the first store's error if none can.
    """
    keys = keys_of(job)
    errors: list[LeitstandError] = []
    with context.stores(job, only) as stores, ExitStack() as opened:
        for store in stores:
            try:
                name = find(store, job.host, job_name, snapshot_id)
                snapshot = opened.enter_context(open_snapshot(store, name, keys))
            except LeitstandError as error:
                errors.append(error)
                continue
            for earlier in errors:
                tell(f"{earlier.message}; reading from {store.name} instead")
            yield snapshot
            return
    raise next((error for error in errors if not isinstance(error, NoSuchSnapshotError)), errors[0])


def restore_to(
    snapshot: Snapshot, target: Path, patterns: tuple[str, ...], owners: Owners, live: Restored
) -> Restored:
    """Restore a snapshot, or what the patterns select of it."""
    return restore(snapshot, target.absolute(), Selection(patterns), owners, live)
