"""``leitstand backup serve``: starts every job's tasks when they are due, until it is told to stop."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from leitstand.errors import EXIT_WARNINGS
from orchestrator.config.settings import Job
from orchestrator.config.tasks import Task, is_default, plans
from orchestrator.scheduler.agenda import Agenda, read_stamps, write_stamps
from orchestrator.scheduler.batch import resources_of
from orchestrator.scheduler.children import Ended
from orchestrator.scheduler.serve_metrics import Seen
from orchestrator.scheduler.slots import Parallelism, startable
from orchestrator.state.context import Context
from orchestrator.state.facts import StoreFacts, read_facts

_log = logging.getLogger(__name__)
STAMPS = Path("backup") / "agenda"  # below paths.state; not *.json, which are the jobs' facts
TICK_SECONDS = 1.0
LOOK_SECONDS = 5.0  # how often files are looked at: the configuration, what other runs did
CLOCK_SET = 5.0  # seconds that the clock may drift from the monotonic one between two ticks


class Workers(Protocol):
    """What carries tasks out; see `orchestrator.scheduler.children.Children`."""

    ended: "queue.Queue[Ended]"

    @property
    def running(self) -> Mapping[Task, object]: ...
    @property
    def began(self) -> Mapping[Task, float]: ...
    def start(self, task: Task, options: tuple[str, ...] = ()) -> None: ...
    def forget(self, ended: Ended) -> None: ...
    def break_off(self) -> None: ...
    def kill(self) -> None: ...


class Config(Protocol):
    """Where the configuration comes from; see `orchestrator.scheduler.watch.WatchedConfig`."""

    @property
    def context(self) -> Context: ...
    @property
    def good(self) -> bool: ...
    def refresh(self) -> bool: ...


@dataclass
class Service:
    """The loop. ``wall`` is the time of day in seconds since 1970, ``monotonic`` a clock that nobody sets."""

    config: Config
    workers: Workers
    limits: Parallelism
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: list[Task] = field(default_factory=list)
    ended_counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    agenda: Agenda = field(init=False)
    seen: Seen = field(init=False)  # for other threads: replaced, never changed
    _looked: float = float("-inf")
    _skew: float = field(init=False)

    def __post_init__(self) -> None:
        done, seen = read_stamps(self._stamps)
        self.agenda = Agenda(self.config.context.fleet.site.zone, done=done, seen=seen)
        self._skew = self.wall() - self.monotonic()
        self._replan()
        self._note_runs()
        self.seen = self._look()

    @property
    def now(self) -> datetime:
        """The time of day."""
        return datetime.fromtimestamp(self.wall(), UTC)

    def run(self) -> None:
        """Until ``stop`` is set; then every running task is broken off, and cleans up."""
        _log.info("serving %d tasks of %d jobs", len(self.agenda.plans), len(self._jobs))
        while not self.stop.is_set():
            self.tick()
            with suppress(queue.Empty):
                self._end(self.workers.ended.get(timeout=TICK_SECONDS))

    def close(self, seconds: float) -> None:
        """Break off what is running; after so many seconds, end it. What was broken off is due again."""
        self.waiting.clear()
        deadline = self.monotonic() + seconds
        self.workers.break_off()
        while self.workers.running:
            with suppress(queue.Empty):
                self._end(self.workers.ended.get(timeout=max(0.01, deadline - self.monotonic())))
                continue
            _log.error("%s did not end and is killed", ", ".join(task.name for task in self.workers.running))
            self.workers.kill()
            deadline = self.monotonic() + seconds

    def tick(self) -> None:
        """Queue what is due, start what may start, and now and then look whether something changed."""
        known = {*self.waiting, *self.workers.running}
        self.waiting += [task for task in self.agenda.due(self.now) if task not in known]
        self._start()
        if self.monotonic() - self._looked >= LOOK_SECONDS or self._clock_was_set():
            self._looked = self.monotonic()
            if self.config.refresh() or self._clock_was_set():
                self._skew = self.wall() - self.monotonic()
                self._replan()
            self._note_runs()
        self.seen = self._look()

    def _look(self) -> Seen:
        return Seen(
            jobs=self._jobs,
            starts=self.agenda.starts(),
            waiting=tuple(self.waiting),
            began=dict(self.workers.began),
            ended=dict(self.ended_counts),
            config_good=self.config.good,
        )

    @property
    def _jobs(self) -> Mapping[str, Job]:
        return self.config.context.settings.backups

    @property
    def _stamps(self) -> Path:
        return self.config.context.state / STAMPS

    def _clock_was_set(self) -> bool:
        return abs(self.wall() - self.monotonic() - self._skew) > CLOCK_SET

    def _start(self) -> None:
        for task in startable(
            self.waiting, self.workers.running, resources_of(self.config.context), self.limits
        ):
            self.waiting.remove(task)
            _log.info("%s: starts", task.name)
            self.workers.start(task, options(task, self._jobs[task.job]))

    def _end(self, ended: Ended) -> None:
        task = ended.task
        self.workers.forget(ended)
        good = ended.status in (0, EXIT_WARNINGS)
        result = {0: "good", EXIT_WARNINGS: "warnings"}.get(ended.status, "failed")
        key = (task.job, task.action, result)
        self.ended_counts[key] = self.ended_counts.get(key, 0) + 1
        if good:
            self.agenda.note(task, ended.began, self.now)
            self._keep_stamps()
        else:
            self.agenda.failed(task, self.now)
        self._tell_end(ended, good)

    def _tell_end(self, ended: Ended, good: bool) -> None:
        following = self.agenda.starts().get(ended.task)
        again = following.astimezone(self.agenda.zone).isoformat(timespec="seconds") if following else "never"
        level = logging.INFO if good else logging.ERROR
        how = f"{'ended' if good else 'failed'} with status {ended.status} after {ended.seconds:.0f} s"
        how += f" ({ended.stderr})" if ended.stderr else ""
        _log.log(level, "%s: %s; next: %s", ended.task.name, how, again)

    def _replan(self) -> None:
        self.agenda.zone = self.config.context.fleet.site.zone
        self.agenda.replan(plans(self._jobs), self.now)
        self.waiting = [task for task in self.waiting if task in self.agenda.plans]
        self._keep_stamps()
        self.config.context.facts().publish()

    def _note_runs(self) -> None:
        """Runs started by hand, or by another scheduler of this host, count as well."""
        facts = read_facts(self.config.context.state, self._jobs)
        for name, job in self._jobs.items():
            task, began = Task(name, "run"), last_good_run(job, facts.get(name, {}))
            if began > self.agenda.done.get(task.name, 0) and task not in self.workers.running:
                self.agenda.note(task, began, self.now)

    def _keep_stamps(self) -> None:
        try:
            write_stamps(self._stamps, self.agenda)
        except OSError as error:
            _log.warning("what was done cannot be noted: %s", error)


def last_good_run(job: Job, facts: Mapping[str, StoreFacts]) -> float:
    """When the last run began that every store of the job has; 0 for never."""
    began = [each.last_success and each.last_success - each.duration_seconds for each in facts.values()]
    return min(began) if set(facts) >= set(job.stores) else 0.0


def options(task: Task, job: Job) -> tuple[str, ...]:
    """What a task's command line needs beside the job's name."""
    # What the job does not ask for is no failure where its credentials may only write.
    words = ["--if-allowed"] if task.action != "run" and is_default(job, task.action) else []
    if task.action == "verify":
        share, spot = job.verify.share, job.verify.spot
        words += [] if share is None else ["--share", share]
        words += [] if spot is None else ["--weekly-spot", str(spot)]
    return tuple(words)
