"""What ``leitstand backup serve`` tells Prometheus of itself. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from leitstand.exposition import Family
from orchestrator.config.settings import Job
from orchestrator.config.tasks import Task
from orchestrator.state.metrics import next_run

_LABELS = ("backup", "host", "action")


@dataclass(frozen=True)
class Seen:
    """A look at the service: ``starts`` the next start of each task, ``began`` that of those that run now.

    Of what is no task of ``jobs`` any more nothing is told.
    """

    jobs: Mapping[str, Job]
    starts: Mapping[Task, datetime]
    waiting: tuple[Task, ...]
    began: Mapping[Task, float]
    ended: Mapping[tuple[str, str, str], int]
    config_good: bool


def families(seen: Seen) -> list[Family]:
    """All of its metrics."""
    running = Family("leitstand_backup_running", "gauge", "Whether the task is under way.", _LABELS)
    began = Family(
        "leitstand_backup_running_since_timestamp_seconds", "gauge", "When the task under way began.", _LABELS
    )
    for task in sorted(seen.starts):
        running.add(int(task in seen.began), *_labels(seen, task.job, task.action))
    for task, moment in sorted(seen.began.items()):
        if task.job in seen.jobs:
            began.add(moment, *_labels(seen, task.job, task.action))
    waiting = Family("leitstand_backup_queue_length", "gauge", "Tasks that are due and wait for their turn.")
    waiting.add(len(seen.waiting))
    good = Family("leitstand_backup_config_good", "gauge", "Whether the configuration could be read last.")
    good.add(int(seen.config_good))
    ended = Family(
        "leitstand_backup_ended_total", "counter", "Tasks that ended since this service began, by result.",
        (*_LABELS, "result"),
    )  # fmt: skip
    for (job, action, result), count in sorted(seen.ended.items()):
        if job in seen.jobs:
            ended.add(count, *_labels(seen, job, action), result)
    return [next_run(seen.jobs, seen.starts), running, began, waiting, good, ended]


def _labels(seen: Seen, job: str, action: str) -> tuple[str, str, str]:
    return job, seen.jobs[job].host, action
