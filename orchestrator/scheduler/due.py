"""Whether a task is due, for timers that check every few minutes: 'every 6h' is counted from its last run.

Completed tasks are recorded in the file that `serve` uses, and the same agenda reads it: both start a task at
the same times, also after a reboot.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from leitstand.errors import UsageError
from orchestrator.config.tasks import Task, plans
from orchestrator.scheduler.agenda import STAMPS, Agenda, read_stamps, write_stamps
from orchestrator.state.context import Context
from orchestrator.state.facts import last_good_run, read_facts

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DueTask:
    task: Task
    due: bool
    start: datetime

    def ended(self, context: Context, began: float, *, good: bool) -> None:
        """Note a try. A failed one is repeated as late as a good one."""
        with _agenda(context) as agenda:
            stamps = agenda.done if good else agenda.seen
            stamps[self.task.name] = began


def due_task(context: Context, task: Task) -> DueTask:
    """Look whether a task is due. Raises UsageError for one without a schedule, and OSError."""
    with _agenda(context) as agenda:
        start = agenda.starts().get(task)
        if start is None:
            raise UsageError(f"{task.name} has no schedule", "leave out --if-due")
        return DueTask(task, start.timestamp() <= time.time(), start)


@contextmanager
def _agenda(context: Context) -> Iterator[Agenda]:
    """The agenda from its file; written back at the end, one process at a time."""
    path, jobs = context.state / STAMPS, context.settings.backups
    now = datetime.fromtimestamp(time.time(), context.fleet.site.zone)
    with context.facts().locked():
        done, seen = read_stamps(path)
        facts = read_facts(context.state, jobs)
        for name, job in jobs.items():
            if began := last_good_run(job, facts.get(name, {})):
                done[f"{name}/run"] = max(done.get(f"{name}/run", 0.0), began)
        agenda = Agenda(context.fleet.site.zone, done=done, seen=seen)
        agenda.replan(plans(jobs), now)
        yield agenda
        try:
            write_stamps(path, agenda)
        except OSError as error:  # a full disk keeps no backup from being made
            _log.warning("completed tasks cannot be recorded: %s", error)
