"""A run of a job with everything around it: lock, leases, hooks, facts and metrics."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from leitstand.files import make_private_folder
from orchestrator.archive import Problem
from orchestrator.backup.changes import Changed
from orchestrator.backup.hooks import RunHooks, State
from orchestrator.backup.lease import leased
from orchestrator.backup.lock import JobBusyError, job_lock
from orchestrator.backup.run import Progress, RunPlan, RunResult, run_job
from orchestrator.backup.shrunk import Shrinkage, summary
from orchestrator.backup.signals import undisturbed
from orchestrator.config.private_files import faulty_files
from orchestrator.repository.catalog import scan
from orchestrator.retention.prune import sweep_rests
from orchestrator.sources import open_sources, open_transport
from orchestrator.state.context import Context, keys_of
from orchestrator.state.facts import StoreFacts, in_a_line
from orchestrator.state.lookout import learn
from orchestrator.stores import Store, StoreError

_log = logging.getLogger(__name__)
Counts = tuple[int, float]  # snapshots in a store, and the time of the oldest


def back_up(context: Context, job_name: str, progress: Progress) -> RunResult:
    """Run a job and record how it went, for each store. Raises LeitstandError when no snapshot was made."""
    with job_lock(context.state, job_name) as place, _recording_failure(context, job_name):
        start = time.monotonic()
        context.facts().publish()  # with the start that comes after this one
        job = context.job(job_name)
        context.require_reach(job)
        host = context.fleet.hosts[job.host]
        hooks = RunHooks(job_name, job.host, job.hooks, open_transport(job.host, host))
        with ExitStack() as opened:
            with _hooked_if_it_fails(hooks):
                keys, stores = keys_of(job), opened.enter_context(context.stores(job))
                opened.enter_context(leased(stores, job.host, job_name, place=place))
            with _hooked(hooks) as ending:
                for fault in faulty_files(job, host):
                    _log.warning("%s: %s %s; %s", job_name, fault.place, fault.what, fault.cure)
                sources = open_sources(job, host, context.folders(job))
                shrinkage = Shrinkage.since(context.state / "backup" / f"{job_name}.sources")
                known = {store.name: learn(context, job_name, store, keys) for store in stores}
                run = RunPlan(job_name, job, sources, stores, keys, shrinkage, known)
                result = run_job(run, progress)
                ending.state = "failed" if result.failed else result.meta.state
            result = replace(result, changed=_changed(context, job_name, progress, shrinkage))
            result = _with_hook_problems(result, ending.problems)
            _record_success(context, result, stores, time.monotonic() - start)
    for name, store_error in result.failed.items():
        _record_failure(context, job_name, name, store_error.message)
    return result


@dataclass
class _Ending:
    """How the run ended, which is passed to its last hooks, and what went wrong with them."""

    state: State = "failed"
    problems: list[str] = field(default_factory=list)


@contextmanager
def _hooked(hooks: RunHooks) -> Iterator[_Ending]:
    """Hooks before the block and, even if it or they fail, after it."""
    ending = _Ending()
    try:
        hooks.before()
        yield ending
    except KeyboardInterrupt:
        ending.state = "interrupted"
        raise
    finally:
        _end(hooks, ending)


@contextmanager
def _hooked_if_it_fails(hooks: RunHooks) -> Iterator[None]:
    """Hooks after the block if it fails, but not when the run gives way to another one, which has its own."""
    try:
        yield
    except JobBusyError:
        raise
    except Exception:
        _end(hooks, _Ending())
        raise


def _end(hooks: RunHooks, ending: _Ending) -> None:
    with undisturbed():
        ending.problems = hooks.end(ending.state)
    if ending.state in ("failed", "interrupted"):  # else they become warnings of the run
        for problem in ending.problems:
            _log.warning("%s: %s", hooks.job, problem)


def _changed(context: Context, job_name: str, progress: Progress, shrinkage: Shrinkage) -> Changed | None:
    """The differences from the last run, whose paths are replaced by this one's."""
    file = context.state / "backup" / f"{job_name}.paths"
    changed = progress.paths.since(file)
    try:
        make_private_folder(file.parent)
        progress.paths.save(file)
        shrinkage.save(file.with_suffix(".sources"))
    except OSError as error:
        _log.warning("%s: the next run will not know what changed: %s", job_name, error)
    return changed


def _with_hook_problems(result: RunResult, problems: list[str]) -> RunResult:
    """The snapshot is good all the same: what its clean-up left behind is a warning."""
    more = tuple(Problem(b"", problem) for problem in problems)
    return replace(result, problems=(*more, *result.problems), problem_count=result.problem_count + len(more))


@contextmanager
def _recording_failure(context: Context, job_name: str) -> Iterator[None]:
    """Record a run that made no snapshot; one that gave way to another run is none."""
    try:
        yield
    except JobBusyError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        what = "the last run was interrupted" if isinstance(error, KeyboardInterrupt) else in_a_line(error)
        for name in context.job(job_name).stores:
            _record_failure(context, job_name, name, what)
        raise


def _record_failure(context: Context, job_name: str, store: str, problem: str) -> None:
    def change(before: StoreFacts) -> StoreFacts:
        return replace(before, last_run=time.time(), last_run_success=False, problem=problem)

    context.facts().update(job_name, store, change)


def _record_success(context: Context, result: RunResult, stores: list[Store], seconds: float) -> None:
    facts, now = context.facts(), time.time()
    for store in stores:
        if store.name not in result.stored:
            continue
        change = partial(_with_run, result, store, _counts(store, result), now, seconds)
        facts.update(result.name.job, store.name, change)
        facts.verified(result.name.job, store.name, "presence", now)


def _with_run(
    result: RunResult, store: Store, counts: Counts | None, now: float, seconds: float, before: StoreFacts
) -> StoreFacts:
    """The facts of a job in a store after this run."""
    changed = result.changed
    snapshots, oldest = counts or (before.snapshots, before.oldest)
    return replace(
        before,
        last_run=now,
        last_run_success=True,
        last_success=now,
        last_snapshot=result.name.id,
        duration_seconds=round(seconds, 3),
        stored_bytes=result.meta.archive_bytes + result.meta.manifest_bytes,
        uploaded_bytes=store.line.sent,
        source_bytes=result.meta.content_bytes,
        files=result.meta.entries,
        new=changed.new if changed else None,
        changed=changed.changed if changed else None,
        gone=changed.gone if changed else None,
        warnings=result.problem_count,
        shrunk=len(result.shrunk),
        problem=_problem(result),
        known={**before.known, result.name.id: result.meta.state},
        snapshots=snapshots,
        oldest=oldest,
    )


def _counts(store: Store, result: RunResult) -> Counts | None:
    """The number of snapshots and the time of the oldest; None where these credentials may not list.

    Leftovers of runs that died are removed at the same time.
    """
    try:
        listed = scan(store, result.name.host, result.name.job)
    except StoreError:
        return None
    names = [each for each in listed if each.committed]
    sweep_rests(store, listed)
    return (len(names), names[0].name.began.timestamp()) if names else None


def _problem(result: RunResult) -> str:
    """One line for `status`; nothing when all is good."""
    if result.shrunk or not result.problem_count:
        return summary(result.shrunk)
    first = result.problems[0]
    return first.what if not first.path else f"{result.problem_count} files could not be read"
