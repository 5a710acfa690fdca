"""Metrics of backups for Prometheus, from the facts of each job in each store."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from leitstand.files import make_public_folder, write_atomically
from orchestrator.config.settings import Job
from orchestrator.config.tasks import ACTIONS, Task, is_never, plans, schedule_of
from orchestrator.state.facts import Facts, StoreFacts

TEXTFILE = "leitstand_backup.prom"
_LABELS = ("backup", "host", "store")
Read = Callable[[StoreFacts], float | None]
Sample = tuple[tuple[str, ...], float]


def _of_success(name: str) -> Read:
    """Reads a fact that exists after a good run."""
    return lambda facts: getattr(facts, name) if facts.last_run and facts.last_success else None


def _of_run(value: Read) -> Read:
    return lambda facts: value(facts) if facts.last_run else None


def _of_store(value: Read) -> Read:
    """Reads a fact that exists once the store was listed, no matter which machine runs the job."""
    return lambda facts: value(facts) if facts.last_run or facts.snapshots is not None else None


# Name, help, and how to read it; None: there is no such sample (yet).
_GAUGES: tuple[tuple[str, str, Read], ...] = (
    (
        "last_run_success",
        "Whether the last run stored a snapshot there.",
        _of_run(lambda f: int(f.last_run_success)),
    ),
    ("last_run_timestamp_seconds", "When the last run ended.", lambda f: f.last_run or None),
    ("last_run_warnings", "Files that the last run could not read reliably.", _of_run(lambda f: f.warnings)),
    ("shrunk_sources", "Sources that held far less in the last run than before.", _of_success("shrunk")),
    ("last_success_timestamp_seconds", "When the last good run ended.", _of_success("last_success")),
    ("duration_seconds", "How long the last good run took.", _of_success("duration_seconds")),
    ("stored_bytes", "Size of the newest good snapshot as stored.", _of_success("stored_bytes")),
    (
        "uploaded_bytes",
        "Bytes that the last good run sent there, retries included.",
        _of_success("uploaded_bytes"),
    ),
    ("source_bytes", "Bytes that the last good run read.", _of_success("source_bytes")),
    ("files", "Files and folders in the newest good snapshot.", _of_success("files")),
    ("snapshots", "Complete snapshots in the store, as last seen.", lambda f: f.snapshots),
    ("files_new", "Files and folders that the previous run did not have.", _of_success("new")),
    ("files_changed", "Files and folders that have changed since the previous run.", _of_success("changed")),
    (
        "files_gone",
        "Files and folders that the previous run had and the last one did not.",
        _of_success("gone"),
    ),
    (
        "damaged_snapshots",
        "Snapshots that are known to be damaged, or are no longer proven.",
        _of_store(lambda f: len(f.damaged.keys() | f.doubtful.keys())),
    ),
    (
        "lost_snapshots",
        "Snapshots that should still be there and are gone.",
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


def write_metrics(folder: Path, facts: Facts, jobs: Mapping[str, Job], zone: tzinfo) -> None:
    """Replace the textfile with the metrics of these jobs, as of now. Raises OSError."""
    registry = CollectorRegistry()
    registry.register(BackupCollector(facts, jobs, next_starts(facts, jobs, datetime.now(zone))))
    write_textfile(folder / TEXTFILE, registry)


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Replace a textfile, readable for the exporter regardless of the umask. Raises OSError."""
    make_public_folder(path.parent)
    write_atomically(path, generate_latest(registry))


def next_starts(facts: Facts, jobs: Mapping[str, Job], now: datetime) -> dict[Task, datetime]:
    drilled = {
        job for job, stores in facts.items() if any("drill" in each.verified for each in stores.values())
    }
    return {
        task: start
        for task, plan in plans(jobs).items()
        if (start := plan.after(now, again=plan.first is not None and task.job in drilled))
    }


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by their identity
class BackupCollector(Collector):
    """All metrics of all jobs that are known; intervals and next ``starts`` also of those that never ran."""

    facts: Facts
    jobs: Mapping[str, Job]
    starts: Mapping[Task, datetime] = field(default_factory=dict)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, text, value in _GAUGES:
            yield _gauge(name, text, _LABELS, self._samples(value))
        text = "The longest time between two scheduled runs."
        yield _gauge("interval_seconds", text, _LABELS, self._intervals())
        text = "The longest time between two scheduled drills."
        yield _gauge("drill_interval_seconds", text, ("backup", "host"), self._drill_intervals())
        text = "1 for a task that this host does not run on schedule: it is turned off,"
        yield _gauge("off", f"{text} or its credentials do not allow it.", (*_LABELS, "action"), self._off())
        text = "When the task starts next, or was due."
        yield _gauge("next_run_timestamp_seconds", text, ("backup", "host", "action"), self._next_runs())
        text = "When the newest snapshot, or a share of all, was last found good at this level."
        levels = self._by_level(lambda facts: facts.verified)
        yield _gauge("last_verified_timestamp_seconds", text, (*_LABELS, "level"), levels)
        text = "When the newest snapshot that was found good at this level was made."
        levels = self._by_level(lambda facts: facts.proven)
        yield _gauge("proven_snapshot_timestamp_seconds", text, (*_LABELS, "level"), levels)

    def _each(self) -> Iterator[tuple[tuple[str, str, str], StoreFacts]]:
        for job, stores in sorted(self.facts.items()):
            for store, facts in sorted(stores.items()):
                yield (job, self.jobs[job].host, store), facts

    def _samples(self, value: Read) -> Iterator[Sample]:
        for labels, facts in self._each():
            number = value(facts)
            if number is not None:
                yield labels, number

    def _by_level(self, moments: Callable[[StoreFacts], Mapping[str, float]]) -> Iterator[Sample]:
        for labels, facts in self._each():
            for level, moment in sorted(moments(facts).items()):
                yield (*labels, level), moment

    def _intervals(self) -> Iterator[Sample]:
        for name, job in sorted(self.jobs.items()):
            if job.timing is not None:
                for store in sorted(job.stores):
                    yield (name, job.host, store), job.timing.interval.total_seconds()

    def _off(self) -> Iterator[Sample]:
        for name, job in sorted(self.jobs.items()):
            for store in sorted(job.stores):
                for action in ACTIONS:
                    if is_never(job, action) or self._is_denied(name, store, action):
                        yield (name, job.host, store, action), 1

    def _is_denied(self, job: str, store: str, action: str) -> bool:
        known = self.facts.get(job, {}).get(store)
        return known is not None and action in known.denied

    def _drill_intervals(self) -> Iterator[Sample]:
        # Of the job alone: one drill, from whichever store can give the snapshot, proves it.
        for name, job in sorted(self.jobs.items()):
            schedule = schedule_of(name, job, "drill")
            if schedule and not all(self._is_denied(name, store, "drill") for store in job.stores):
                yield (name, job.host), schedule.interval.total_seconds()

    def _next_runs(self) -> Iterator[Sample]:
        for task, moment in sorted(self.starts.items()):
            yield (task.job, self.jobs[task.job].host, task.action), moment.timestamp()


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"leitstand_backup_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family
