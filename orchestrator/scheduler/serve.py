"""``leitstand backup serve``: starts every job's tasks when they are due, until it is stopped."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from leitstand.errors import EXIT_WARNINGS
from leitstand.settings.watch import Watched
from orchestrator.config.settings import Job
from orchestrator.config.tasks import Task, options, plans
from orchestrator.scheduler.agenda import STAMPS, Agenda, read_stamps, write_stamps
from orchestrator.scheduler.batch import resources_of
from orchestrator.scheduler.children import Children, Ended
from orchestrator.scheduler.slots import Parallelism, startable
from orchestrator.state.context import Context
from orchestrator.state.facts import last_good_run, read_facts
from orchestrator.state.metrics import write_textfile

_log = logging.getLogger(__name__)
TEXTFILE = "leitstand_backup_scheduler.prom"
TICK_SECONDS = 1.0
LOOK_SECONDS = 5.0  # how often to check files: the configuration, the facts of other runs
CLOCK_SET = 5.0  # seconds that the clock may drift from the monotonic one between two ticks


@dataclass
class Service:
    """The loop. ``wall`` is the time of day in seconds since 1970, ``monotonic`` one that is never set."""

    config: Watched[Context]
    workers: Children
    limits: Parallelism
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    report_every: float = 60.0  # seconds between two writes of the metrics; a change of `good` has its own
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: list[Task] = field(default_factory=list)
    agenda: Agenda = field(init=False)
    _looked: float = float("-inf")
    _reported: float = float("-inf")
    _was_good: bool = True
    _skew: float = field(init=False)

    def __post_init__(self) -> None:
        done, seen = read_stamps(self._stamps)
        self.agenda = Agenda(self._context.fleet.site.zone, done=done, seen=seen)
        self._skew = self.wall() - self.monotonic()
        self._replan()
        self._note_runs()

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall(), UTC)

    def run(self) -> None:
        _log.info("serving %d tasks of %d jobs", len(self.agenda.plans), len(self._jobs))
        while not self.stop.is_set():
            self.tick()
            with suppress(queue.Empty):
                self._end(self.workers.ended.get(timeout=TICK_SECONDS))

    def close(self, seconds: float) -> None:
        """Interrupt running tasks; after ``seconds``, kill them. Interrupted tasks are due again."""
        self.waiting.clear()
        deadline = self.monotonic() + seconds
        self.workers.break_off()
        while self.workers.running:
            with suppress(queue.Empty):
                self._end(self.workers.ended.get(timeout=max(0.01, deadline - self.monotonic())))
                continue
            _log.error(
                "%s did not end and is being killed", ", ".join(task.name for task in self.workers.running)
            )
            self.workers.kill()
            deadline = self.monotonic() + seconds

    def tick(self) -> None:
        """Queue due tasks, start what the limits allow, and check for changes now and then."""
        known = {*self.waiting, *self.workers.running}
        self.waiting += [task for task in self.agenda.due(self.now) if task not in known]
        self._start()
        if self.monotonic() - self._looked >= LOOK_SECONDS or self._clock_was_set():
            self._looked = self.monotonic()
            if self.config.refresh() or self._clock_was_set():
                self._skew = self.wall() - self.monotonic()
                self._replan()
            self._note_runs()
            self._report()

    def _report(self) -> None:
        is_due = self.monotonic() - self._reported >= self.report_every
        if not is_due and self.config.good == self._was_good:
            return
        self._reported, self._was_good = self.monotonic(), self.config.good
        try:
            folder = self._context.fleet.paths.metrics
            write_textfile(folder / TEXTFILE, scheduler_metrics(self.wall(), config_good=self.config.good))
        except OSError as error:
            _log.warning("the metrics of the scheduler could not be written: %s", error)

    @property
    def _context(self) -> Context:
        return self.config.value

    @property
    def _jobs(self) -> Mapping[str, Job]:
        return self._context.settings.backups

    @property
    def _stamps(self) -> Path:
        return self._context.state / STAMPS

    def _clock_was_set(self) -> bool:
        return abs(self.wall() - self.monotonic() - self._skew) > CLOCK_SET

    def _start(self) -> None:
        for task in startable(self.waiting, self.workers.running, resources_of(self._context), self.limits):
            self.waiting.remove(task)
            _log.info("%s: starts", task.name)
            self.workers.start(task, options(task, self._jobs[task.job]))

    def _end(self, ended: Ended) -> None:
        task = ended.task
        self.workers.forget(ended)
        good = ended.status in (0, EXIT_WARNINGS)
        if good:
            self.agenda.note(task, ended.began, self.now)
            self._keep_stamps()
        else:
            self.agenda.failed(task, self.now)
        self._log_end(ended, good)

    def _log_end(self, ended: Ended, good: bool) -> None:
        following = self.agenda.starts().get(ended.task)
        again = following.astimezone(self.agenda.zone).isoformat(timespec="seconds") if following else "never"
        level = logging.INFO if good else logging.ERROR
        how = f"{'ended' if good else 'failed'} with status {ended.status} after {ended.seconds:.0f} s"
        how += f" ({ended.stderr})" if ended.stderr else ""
        _log.log(level, "%s: %s; next: %s", ended.task.name, how, again)

    def _replan(self) -> None:
        self.agenda.zone = self._context.fleet.site.zone
        self.agenda.replan(plans(self._jobs), self.now)
        self.waiting = [task for task in self.waiting if task in self.agenda.plans]
        self._keep_stamps()
        self._context.facts().publish()

    def _note_runs(self) -> None:
        """Runs started by hand, or by another scheduler of this host, count as well."""
        facts = read_facts(self._context.state, self._jobs)
        for name, job in self._jobs.items():
            task, began = Task(name, "run"), last_good_run(job, facts.get(name, {}))
            if began > self.agenda.done.get(task.name, 0) and task not in self.workers.running:
                self.agenda.note(task, began, self.now)

    def _keep_stamps(self) -> None:
        try:
            write_stamps(self._stamps, self.agenda)
        except OSError as error:
            _log.warning("completed tasks cannot be recorded: %s", error)


def scheduler_metrics(moment: float, *, config_good: bool) -> CollectorRegistry:
    registry = CollectorRegistry()
    text = "Whether the last read of the configuration succeeded."
    Gauge("leitstand_backup_config_good", text, registry=registry).set(config_good)
    text = "When the scheduler last checked for due tasks."
    Gauge("leitstand_backup_scheduler_timestamp_seconds", text, registry=registry).set(moment)
    return registry
