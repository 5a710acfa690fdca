"""Metrics of backups for Prometheus, from what is known of each job in each store. Pure."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from leitstand.exposition import Family
from orchestrator.config.settings import Job
from orchestrator.config.tasks import ACTIONS, Task, is_never, schedule_of

_LABELS = ("backup", "host", "store")


class Facts(Protocol):
    """What a job's metrics are made of; see `orchestrator.state.facts.StoreFacts`."""

    @property
    def last_run(self) -> float: ...
    @property
    def verified(self) -> Mapping[str, float]: ...
    @property
    def proven(self) -> Mapping[str, float]: ...
    @property
    def denied(self) -> Collection[str]: ...


def _of_success(name: str) -> Callable[[Any], float | None]:
    """Reads a fact that means something once there was a good run."""
    return lambda facts: getattr(facts, name) if facts.last_run and facts.last_success else None


def _of_run(value: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
    return lambda facts: value(facts) if facts.last_run else None


def _of_store(value: Callable[[Any], float | None]) -> Callable[[Any], float | None]:
    """Reads a fact that means something once the store was looked into, by whichever machine runs the job."""
    return lambda facts: value(facts) if facts.last_run or facts.snapshots is not None else None


# Name, help, and how to read it; None: there is no such sample (yet).
_GAUGES: tuple[tuple[str, str, Callable[[Any], float | None]], ...] = (
    (
        "last_run_success",
        "Whether the last run put a snapshot there.",
        _of_run(lambda f: int(f.last_run_success)),
    ),
    ("last_run_timestamp_seconds", "When the last run ended.", lambda f: f.last_run or None),
    (
        "last_run_warnings",
        "Files that the last run could not read, or not surely.",
        _of_run(lambda f: f.warnings),
    ),
    ("shrunk_sources", "Sources that held far less in the last run than before.", _of_success("shrunk")),
    ("last_success_timestamp_seconds", "When the last good run ended.", _of_success("last_success")),
    ("duration_seconds", "How long the last good run took.", _of_success("duration_seconds")),
    ("stored_bytes", "Size of the newest good snapshot as stored.", _of_success("stored_bytes")),
    (
        "uploaded_bytes",
        "Bytes that the last good run sent there, again and again included.",
        _of_success("uploaded_bytes"),
    ),
    ("source_bytes", "Bytes that the last good run read.", _of_success("source_bytes")),
    ("files", "Files and folders in the newest good snapshot.", _of_success("files")),
    ("snapshots", "Complete snapshots in the store, as last seen.", lambda f: f.snapshots),
    ("files_new", "Of these, so many that the run before did not have.", _of_success("new")),
    (
        "files_changed",
        "Of these, so many with another content than in the run before.",
        _of_success("changed"),
    ),
    (
        "files_gone",
        "Files and folders that the run before had and the last one had not.",
        _of_success("gone"),
    ),
    (
        "damaged_snapshots",
        "Snapshots that are known to be damaged, or not proven any more.",
        _of_store(lambda f: len(f.damaged.keys() | f.doubtful.keys())),
    ),
    (
        "lost_snapshots",
        "Snapshots that were there, should still be, and are gone.",
        _of_store(lambda f: len(f.lost)),
    ),
    (
        "drill_verdict",
        "The last drill of the newest snapshot: 0 proven, 1 this machine cannot load it, 2 loads but differs,"
        " 3 damaged.",
        lambda f: f.drilled,
    ),
    ("oldest_timestamp_seconds", "When the oldest snapshot was made.", lambda f: f.oldest or None),
)


def families(
    facts: Mapping[str, Mapping[str, Facts]],
    jobs: Mapping[str, Job],
    starts: Mapping[Task, datetime] | None = None,
) -> list[Family]:
    """All metrics of all jobs that are known; intervals and next ``starts`` also of those that never ran."""
    samples = [
        ((job, jobs[job].host, store), each)
        for job, stores in sorted(facts.items())
        for store, each in sorted(stores.items())
    ]
    result = [
        Family(f"leitstand_backup_{name}", "gauge", text, _LABELS, _samples(samples, value))
        for name, text, value in _GAUGES
    ]
    result += [_interval(jobs), _drill_interval(jobs, facts), _off(jobs, facts), next_run(jobs, starts or {})]
    text = (
        "When all was last found good, by how much was looked at: of the newest snapshot, or a share of all."
    )
    result.append(_by_level("last_verified_timestamp_seconds", text, samples, "verified"))
    text = "When the newest of the snapshots that were found good at this level was made."
    result.append(_by_level("proven_snapshot_timestamp_seconds", text, samples, "proven"))
    return result


def _samples(
    samples: list[tuple[tuple[str, str, str], Facts]], value: Callable[[Any], float | None]
) -> list[tuple[tuple[str, ...], float]]:
    values = ((labels, value(each)) for labels, each in samples)
    return [(labels, number) for labels, number in values if number is not None]


def _interval(jobs: Mapping[str, Job]) -> Family:
    text = "The longest time between two scheduled runs."
    family = Family("leitstand_backup_interval_seconds", "gauge", text, _LABELS)
    for name, job in sorted(jobs.items()):
        if job.timing is not None:
            for store in sorted(job.stores):
                family.add(job.timing.interval.total_seconds(), name, job.host, store)
    return family


def _off(jobs: Mapping[str, Job], facts: Mapping[str, Mapping[str, Facts]]) -> Family:
    text = "1 for what this host does not do by itself: it is turned off, or these credentials may not do it."
    family = Family("leitstand_backup_off", "gauge", text, (*_LABELS, "action"))
    for name, job in sorted(jobs.items()):
        for store in sorted(job.stores):
            for action in ACTIONS:
                if is_never(job, action) or _is_denied(facts, name, store, action):
                    family.add(1, name, job.host, store, action)
    return family


def _is_denied(facts: Mapping[str, Mapping[str, Facts]], job: str, store: str, action: str) -> bool:
    known = facts.get(job, {}).get(store)
    return known is not None and action in known.denied


def _drill_interval(jobs: Mapping[str, Job], facts: Mapping[str, Mapping[str, Facts]]) -> Family:
    # Of the job alone: one drill, from whichever store can give the snapshot, proves it.
    text = "The longest time between two scheduled drills."
    family = Family("leitstand_backup_drill_interval_seconds", "gauge", text, ("backup", "host"))
    for name, job in sorted(jobs.items()):
        schedule = schedule_of(name, job, "drill")
        if schedule and not all(_is_denied(facts, name, store, "drill") for store in job.stores):
            family.add(schedule.interval.total_seconds(), name, job.host)
    return family


def next_run(jobs: Mapping[str, Job], starts: Mapping[Task, datetime]) -> Family:
    """The next start of each task of these jobs."""
    text = "When the task starts next, or was due."
    labels = ("backup", "host", "action")
    family = Family("leitstand_backup_next_run_timestamp_seconds", "gauge", text, labels)
    for task, moment in sorted(starts.items()):
        family.add(moment.timestamp(), task.job, jobs[task.job].host, task.action)
    return family


def _by_level(name: str, text: str, samples: list[tuple[tuple[str, str, str], Facts]], fact: str) -> Family:
    family = Family(f"leitstand_backup_{name}", "gauge", text, (*_LABELS, "level"))
    for labels, each in samples:
        for level, moment in sorted(getattr(each, fact).items()):
            family.add(moment, *labels, level)
    return family
