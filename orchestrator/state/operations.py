"""Snapshots of all the stores that a job has."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from leitstand.errors import LeitstandError
from orchestrator.config.settings import Job
from orchestrator.repository.catalog import Listed, newest_of, snapshots
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import SnapshotName
from orchestrator.repository.order import in_order
from orchestrator.repository.snapshot import NoSuchSnapshotError, Snapshot, open_snapshot
from orchestrator.state.context import Context, keys_of
from orchestrator.state.lookout import look, missed
from orchestrator.stores import Store, StoreError


def list_snapshots(
    context: Context,
    job_names: list[str],
    only: str | None,
    fail: Callable[[LeitstandError], None],
    warn: Callable[[str], None],
) -> Iterator[Listed]:
    """Every complete snapshot of these jobs, store by store, oldest first.

    ``fail`` is given the error of each store that cannot be listed, ``warn`` a line for each snapshot that is
    gone, and for keys that cannot be had: then nothing is proven. Raises UsageError for the only job that
    does not use the ``only`` store; of several such a job is left out.
    """
    for job_name in job_names:
        job = context.job(job_name)
        if only is not None and only not in job.stores and len(job_names) > 1:
            continue
        keys = _keys_if_any(job, warn)
        with context.stores(job, only) as stores:
            for store in stores:
                try:
                    yield from _listed_in(context, job_name, store, keys, warn)
                except StoreError as error:
                    fail(error)


def _keys_if_any(job: Job, warn: Callable[[str], None]) -> KeyRing | None:
    try:
        return keys_of(job)
    except LeitstandError as error:
        warn(f"nothing can be proven: {error.message}")
        return None


def _listed_in(
    context: Context, job_name: str, store: Store, keys: KeyRing | None, warn: Callable[[str], None]
) -> list[Listed]:
    if keys is None:
        return snapshots(store, context.job(job_name).host, job_name, None)
    seen = look(context, job_name, store, keys)
    for what in seen.lost.values():
        warn(f"{job_name}: {store.name}: {what}")
    return seen.listed


@contextmanager
def readable_snapshot(
    context: Context,
    job: Job,
    job_name: str,
    snapshot_id: str | None,
    only: str | None,
    warn: Callable[[str], None],
) -> Iterator[Snapshot]:
    """A snapshot from the first of the job's stores that can give it; by default the newest proven one.

    ``warn`` is given a line for each that claims to be newer, or is gone. Raises the first store's error if
    none can.
    """
    keys = keys_of(job)
    errors: list[LeitstandError] = []
    with context.stores(job, only) as stores, ExitStack() as opened:
        if snapshot_id is None:
            copies = _newest(context, job_name, stores, keys, errors, warn)
        else:
            copies = [(store, SnapshotName(job.host, job_name, snapshot_id)) for store in stores]
        for store, name in copies:
            try:
                snapshot = opened.enter_context(open_snapshot(store, name, keys))
            except LeitstandError as error:
                errors.append(error)
                continue
            for earlier in errors:
                warn(f"{earlier.message}; reading from {store.name} instead")
            yield snapshot
            return
    failure = next((error for error in errors if not isinstance(error, NoSuchSnapshotError)), errors[0])
    failure.hint = failure.hint or f"choose an older one with --snapshot: leitstand backup list {job_name}"
    raise failure


def _newest(
    context: Context,
    job_name: str,
    stores: list[Store],
    keys: KeyRing,
    errors: list[LeitstandError],
    warn: Callable[[str], None],
) -> list[tuple[Store, SnapshotName]]:
    """Where the newest snapshot is that any store has and proves, in the order of the stores."""
    job, found = context.job(job_name), list[tuple[Store, Listed]]()
    for store in stores:
        try:
            listed = snapshots(store, job.host, job_name, keys)
            found.append((store, newest_of(store.name, job_name, listed, warn)))
        except LeitstandError as error:
            errors.append(error)
            continue
        for what in missed(context, job_name, store, listed).values():
            warn(f"{store.name}: {what}")
    last = in_order([listed for _, listed in found])[-1:]
    return [(store, listed.name) for store, listed in found if listed.id == last[0].id]


def every_snapshot(
    context: Context, job_name: str, only: str | None, warn: Callable[[str], None]
) -> Iterator[Snapshot]:
    """Every snapshot of a job, oldest first, each from the first store that can give it.

    ``warn`` is given a line for each store that does not answer. Raises the error of a snapshot that no store
    can give once all others were given, and the last store's error when none answers.
    """
    job, keys = context.job(job_name), keys_of(context.job(job_name))
    failure: LeitstandError | None = None
    with context.stores(job, only) as stores:
        for copies in _copies(stores, job.host, job_name, keys, warn):
            with ExitStack() as opened:
                try:
                    snapshot = _open_first(copies, keys, opened)
                except LeitstandError as error:
                    failure = error
                    continue
                yield snapshot
    if failure is not None:
        raise failure


Copy = tuple[Store, Listed]


def _copies(
    stores: list[Store], host: str, job_name: str, keys: KeyRing, warn: Callable[[str], None]
) -> list[list[Copy]]:
    """The copies of each snapshot, oldest snapshot first."""
    found: dict[str, list[Copy]] = {}
    errors: list[StoreError] = []
    for store in stores:
        try:
            for listed in snapshots(store, host, job_name, keys):
                found.setdefault(listed.id, []).append((store, listed))
        except StoreError as error:
            errors.append(error)
            warn(f"{error.message}; snapshots that only {store.name} has are skipped")
    if len(errors) == len(stores):
        raise errors[-1]
    return [found[each.id] for each in in_order([copies[0][1] for copies in found.values()])]


def _open_first(copies: list[Copy], keys: KeyRing, opened: ExitStack) -> Snapshot:
    errors = []
    for store, listed in copies:
        try:
            return opened.enter_context(open_snapshot(store, listed.name, keys))
        except LeitstandError as error:
            errors.append(error)
    raise errors[0]
