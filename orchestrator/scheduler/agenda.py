"""When each task is due next. Pure but for the small file of what was done.

Only success is stamped, with the time it began: what failed, or was missed while this host was down, is due.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from leitstand.files import make_private_folder, write_atomically
from orchestrator.config.tasks import Action, Task, TaskPlan

STAMPS = Path("backup") / "agenda"  # below paths.state; not *.json, which are the jobs' facts
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


@dataclass
class _Entry:
    """The next start of a task, and how often it failed since it was done."""

    due: datetime | None
    failures: int = 0


@dataclass
class Agenda:
    """All tasks. ``done`` has the start of the last good try of each one, in seconds since 1970.

    A task that was never done is counted from the time it was first ``seen``.
    """

    zone: tzinfo
    plans: dict[Task, TaskPlan] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    _entries: dict[Task, _Entry] = field(default_factory=dict)

    def replan(self, plans: Mapping[Task, TaskPlan], now: datetime) -> None:
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
    """The stamps ``done`` and ``seen``. A lost or damaged file costs one superfluous run at most."""
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
