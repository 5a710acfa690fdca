"""Every job's tasks and their schedules: run, verify, drill and prune. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from orchestrator.config.fields import NEVER
from orchestrator.config.schedule import WEEKDAYS, Schedule, parse_schedule
from orchestrator.config.settings import Job

Action = Literal["run", "verify", "drill", "prune"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_HOURS_LATER: Mapping[Action, int] = {"verify": 1, "prune": 2, "drill": 3}
JITTER_SHARE = 10  # a start is put off by no more than a tenth of the distance between two


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
class TaskPlan:
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


def plans(jobs: Mapping[str, Job]) -> dict[Task, TaskPlan]:
    return {
        Task(name, action): _plan(Task(name, action), job, schedule)
        for name, job in jobs.items()
        for action in ACTIONS
        if (schedule := schedule_of(name, job, action))
    }


def _plan(task: Task, job: Job, schedule: Schedule) -> TaskPlan:
    if task.action == "drill" and is_default(job, "drill"):
        # A new job is proven the day after its first run, not weeks later. The minute is drawn already.
        return TaskPlan(schedule, timedelta(0), replace(schedule, days=frozenset(range(1, 32))))
    return TaskPlan(schedule, offset(task, job.jitter, schedule.interval))


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
    """The longest delay of a start."""
    return min(jitter, interval / JITTER_SHARE)


def options(task: Task, job: Job) -> tuple[str, ...]:
    """The options of a task's command line."""
    # What the job does not ask for is no failure where its credentials may only write.
    words = ["--if-allowed"] if task.action != "run" and is_default(job, task.action) else []
    if task.action == "verify":
        share, spot = job.verify.share, job.verify.spot
        words += [] if share is None else ["--share", share]
        words += [] if spot is None else ["--weekly-spot", str(spot)]
    return tuple(words)
