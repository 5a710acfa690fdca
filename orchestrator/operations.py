"""Snapshots of all the stores that a job has."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from leitstand.errors import LeitstandError
from orchestrator.catalog import Listed, age, complete, find, scan
from orchestrator.config import Job
from orchestrator.context import Context, keys_of
from orchestrator.facts import read_facts
from orchestrator.keys import KeyRing
from orchestrator.snapshot import NoSuchSnapshotError, Snapshot, open_snapshot
from orchestrator.stores import Store, StoreError


def list_snapshots(
    context: Context, job_names: list[str], only: str | None, tell: Callable[[LeitstandError], None]
) -> Iterator[Listed]:
    """Every complete snapshot of these jobs, store by store, oldest first.

    ``tell`` is given the error of each store that cannot be listed. Raises UsageError for the only job that
    does not use the ``only`` store; of several such a job is left out.
    """
    for job_name in job_names:
        job = context.job(job_name)
        if only is not None and only not in job.stores and len(job_names) > 1:
            continue
        with context.stores(job, only) as stores:
            for store in stores:
                try:
                    yield from complete(store, job.host, job_name)
                except StoreError as error:
                    tell(error)


@contextmanager
def readable_snapshot(
    context: Context,
    job: Job,
    job_name: str,
    snapshot_id: str | None,
    only: str | None,
    tell: Callable[[str], None],
) -> Iterator[Snapshot]:
    """A snapshot from the first of the job's stores that can give it; the newest from one that has it.

    Raises the first store's error if none can.
    """
    keys = keys_of(job)
    errors: list[LeitstandError] = []
    with context.stores(job, only) as stores, ExitStack() as opened:
        for store in stores if snapshot_id else _newest_first(context, job_name, stores):
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


def _newest_first(context: Context, job_name: str, stores: list[Store]) -> list[Store]:
    """The stores in their order, but first those that got the last snapshot, as far as this host knows."""
    known = read_facts(context.state, context.settings.backups)[job_name]
    last = {name: facts.last_snapshot for name, facts in known.items()}
    return sorted(stores, key=lambda store: last.get(store.name, ""), reverse=True)


def every_snapshot(
    context: Context, job_name: str, only: str | None, tell: Callable[[str], None]
) -> Iterator[Snapshot]:
    """Every snapshot of a job, oldest first, each from the first store that can give it.

    ``tell`` is given a line for each store that does not answer. Raises the error of a snapshot that no store
    can give once all others were given, and the last store's error when none answers.
    """
    job, keys = context.job(job_name), keys_of(context.job(job_name))
    failure: LeitstandError | None = None
    with context.stores(job, only) as stores:
        for places in _places(stores, job.host, job_name, tell):
            with ExitStack() as opened:
                try:
                    snapshot = _open_first(places, keys, opened)
                except LeitstandError as error:
                    failure = error
                    continue
                yield snapshot
    if failure is not None:
        raise failure


Place = tuple[Store, Listed]


def _places(stores: list[Store], host: str, job_name: str, tell: Callable[[str], None]) -> list[list[Place]]:
    """Where each snapshot is, oldest first."""
    found: dict[str, list[Place]] = {}
    errors: list[StoreError] = []
    for store in stores:
        try:
            for listed in scan(store, host, job_name):
                if listed.committed is not None:
                    found.setdefault(listed.name.id, []).append((store, listed))
        except StoreError as error:
            errors.append(error)
            tell(f"{error.message}; what only {store.name} has is not looked at")
    if len(errors) == len(stores):
        raise errors[-1]
    return sorted(found.values(), key=lambda places: age(places[0][1]))


def _open_first(places: list[Place], keys: KeyRing, opened: ExitStack) -> Snapshot:
    errors = []
    for store, listed in places:
        try:
            return opened.enter_context(open_snapshot(store, listed.name, keys))
        except LeitstandError as error:
            errors.append(error)
    raise errors[0]
