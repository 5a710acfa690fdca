"""Snapshots of all the stores that a job has."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from leitstand.errors import LeitstandError
from orchestrator.catalog import Listed, complete, find
from orchestrator.config import Job
from orchestrator.context import Context, keys_of
from orchestrator.snapshot import NoSuchSnapshotError, Snapshot, open_snapshot


def list_snapshots(context: Context, job_names: list[str], only: str | None = None) -> Iterator[Listed]:
    """Every complete snapshot of these jobs, store by store, oldest first."""
    for job_name in job_names:
        job = context.job(job_name)
        with context.stores(job, only if only in job.stores else None) as stores:
            for store in stores:
                yield from complete(store, job.host, job_name)


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
