"""When each job's run, verification, drill and prune is due. Pure but for the small file of what was done.

Only success is stamped, with the time it began: what failed, or was missed while this host was down, is due.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal, get_args

from leitstand.files import make_private_folder, write_atomically
from orchestrator.config.fields import NEVER
from orchestrator.config.schedule import WEEKDAYS, Schedule, parse_schedule
from orchestrator.config.settings import Job

Action = Literal["run", "verify", "drill", "prune"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_HOURS_LATER: Mapping[Action, int] = {"verify": 1, "prune": 2, "drill": 3}
JITTER_SHARE = 10  # a start is put off by no more than a tenth of the distance between two
# A failed run is tried again soon; what reads everything back, or deletes, is not.
FIRST_RETRY: Mapping[Action, timedelta] = {
    "run": timedelta(minutes=5),
    "verify": timedelta(hours=1),
    "drill": timedelta(hours=1),
    "prune": timedelta(hours=1),
}
LONGEST_RETRY: Mapping[Action, timedelta] = {
    "run": timedelta(hours=1),
    "verify": timedelta(days=1),
    "drill": timedelta(days=1),
    "prune": timedelta(days=1),
}


@dataclass(frozen=True, order=True)
class Task:
    """One thing that is done again and again."""

    job: str
    action: Action

    @property
    def name(self) -> str:
        """Its name in files and logs."""
        return f"{self.job}/{self.action}"


@dataclass(frozen=True)
class Plan:
    """When a task is done: its schedule and how much later this one starts.

    ``first`` is the schedule until it was done once, where that is another one.
    """

    schedule: Schedule
    offset: timedelta
    first: Schedule | None = None

    def after(self, moment: datetime, *, again: bool = False) -> datetime | None:
        """The first start after ``moment``; None if there is none for years.

        What is counted from its last start (``again``) was put off by its first one already.
        """
        start = (self.schedule if again or self.first is None else self.first).next_after(moment)
        is_put_off = again and self.schedule.every is not None
        return start and start + (timedelta(0) if is_put_off else self.offset)


def plans(jobs: Mapping[str, Job]) -> dict[Task, Plan]:
    """Every task that has a schedule."""
    return {
        Task(name, action): _plan(Task(name, action), job, schedule)
        for name, job in jobs.items()
        for action in ACTIONS
        if (schedule := schedule_of(name, job, action))
    }


def _plan(task: Task, job: Job, schedule: Schedule) -> Plan:
    if task.action == "drill" and is_default(job, "drill"):
        # A new job is proven the day after its first run, not weeks later. The minute is drawn already.
        return Plan(schedule, timedelta(0), replace(schedule, days=frozenset(range(1, 32))))
    return Plan(schedule, offset(task, job.jitter, schedule.interval))


def schedule_of(name: str, job: Job, action: Action) -> Schedule | None:
    """When a task is done, by the job's own words or by default; None: only by hand."""
    text = _written(job, action)
    if text is None and action != "run" and not (action == "prune" and job.keep.keeps_everything):
        text = job.schedule and _default(name, job.schedule, action)
    return parse_schedule(text) if text not in (None, NEVER) else None


def is_default(job: Job, action: Action) -> bool:
    """Whether the job itself says nothing of when a task is done."""
    return _written(job, action) is None


def is_never(job: Job, action: Action) -> bool:
    """Whether the job turns a task off: another machine does it, or it is not wanted."""
    return _written(job, action) == NEVER


def _written(job: Job, action: Action) -> str | None:
    match action:
        case "run":
            return job.schedule
        case "verify":
            return job.verify.schedule
        case "drill":
            return job.drill.schedule
        case "prune":
            return job.prune.schedule


def _default(name: str, run: str, action: Action) -> str:
    """Daily, weekly or monthly, one to three hours after the job's first run of the day.

    Minute and day are drawn from the name, so that jobs do not all do it at once.
    """
    number = _drawn(Task(name, action))
    first = next(iter(parse_schedule(run).minutes), 3 * 60)
    hour, minute = divmod((first + 60 * _HOURS_LATER[action] + number % 60) % 1440, 60)
    day = {
        "verify": "daily",
        "prune": f"weekly {WEEKDAYS[number % 7]}",
        "drill": f"monthly {number % 28 + 1}",
    }
    return f"{day[action]} {hour:02}:{minute:02}"


def _drawn(task: Task) -> int:
    return int.from_bytes(hashlib.sha256(task.name.encode()).digest()[:8])


def offset(task: Task, jitter: timedelta, interval: timedelta) -> timedelta:
    """How much later than its schedule a task starts: always the same, drawn from its name.

    So hosts do not all start at once, and the distance between two starts stays what it is.
    """
    most = longest_offset(jitter, interval).total_seconds()
    return timedelta(seconds=int(most * _drawn(task) / 2**64))


def longest_offset(jitter: timedelta, interval: timedelta) -> timedelta:
    """How much a start is put off at most."""
    return min(jitter, interval / JITTER_SHARE)


@dataclass
class _Entry:
    """What is planned for a task, and how often it failed since it was done."""

    due: datetime | None
    failures: int = 0


@dataclass
class Agenda:
    """What is due. ``done`` has the start of the last good try of each task, in seconds since 1970.

    A task that was never done is counted from the time it was first ``seen``.
    """

    zone: tzinfo
    plans: dict[Task, Plan] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    _entries: dict[Task, _Entry] = field(default_factory=dict)

    def replan(self, plans: Mapping[Task, Plan], now: datetime) -> None:
        """Take other plans, or the same ones after the clock was set: every start is sought anew."""
        failures = {task: entry.failures for task, entry in self._entries.items()}
        self.plans, self._entries = dict(plans), {}
        for task in self.plans:
            self.seen.setdefault(task.name, now.timestamp())
            self._plan(task, now, failures.get(task, 0))

    def note(self, task: Task, began: float, now: datetime) -> None:
        """A task was done well, here or elsewhere, in a try that began then."""
        if task in self.plans and self.done.get(task.name) != began:
            self.done[task.name] = began
            self._plan(task, now, 0)

    def failed(self, task: Task, now: datetime) -> None:
        """A try went wrong: the next one is made soon, later each time."""
        entry = self._entries.get(task)
        if entry is not None:
            pause = min(LONGEST_RETRY[task.action], FIRST_RETRY[task.action] * 2 ** min(entry.failures, 10))
            entry.failures += 1
            entry.due = now + pause

    def due(self, now: datetime) -> list[Task]:
        """Tasks whose time has come, the longest overdue first."""
        found = [(entry.due, task) for task, entry in self._entries.items() if entry.due and entry.due <= now]
        return [task for _, task in sorted(found)]

    def starts(self) -> dict[Task, datetime]:
        """The next start of each task; a time gone by while it waits or runs."""
        return {task: entry.due for task, entry in self._entries.items() if entry.due is not None}

    def _plan(self, task: Task, now: datetime, failures: int) -> None:
        plan = self.plans[task]
        last = max(self.done.get(task.name, 0.0), self.seen[task.name])
        # A stamp from far in the future was made by a wrong clock: it must not keep a job from running.
        believed = last <= (now + plan.schedule.interval).timestamp()
        moment = datetime.fromtimestamp(last if believed else now.timestamp(), self.zone)
        self._entries[task] = _Entry(plan.after(moment, again=task.name in self.done), failures)


def read_stamps(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """What was done and what was seen. A file that is lost or damaged costs a try too many at most."""
    try:
        data: Any = json.loads(path.read_text())
        done, seen = ({str(k): float(v) for k, v in data[name].items()} for name in ("done", "seen"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}
    return done, seen


def write_stamps(path: Path, agenda: Agenda) -> None:
    """Keep what was done, for tasks that are still there. Raises OSError."""
    names = {task.name for task in agenda.plans}
    data = {
        "done": {name: when for name, when in agenda.done.items() if name in names},
        "seen": {name: when for name, when in agenda.seen.items() if name in names},
    }
    make_private_folder(path.parent)
    write_atomically(path, json.dumps(data, indent=1), mode=0o600)
