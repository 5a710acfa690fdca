"""What ``leitstand backup serve`` tells Prometheus of itself. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from leitstand.exposition import Family
from orchestrator.agenda import Task

_LABELS = ("backup", "action")


@dataclass(frozen=True)
class Seen:
    """A look at the service: ``starts`` the next start of each task, ``began`` that of those that run now."""

    starts: Mapping[Task, datetime]
    waiting: tuple[Task, ...]
    began: Mapping[Task, float]
    ended: Mapping[tuple[str, str, str], int]
    config_good: bool


def families(seen: Seen) -> list[Family]:
    """All of its metrics."""
    tasks = sorted(seen.starts)
    running = Family("leitstand_backup_running", "gauge", "Whether the task is under way.", _LABELS)
    began = Family(
        "leitstand_backup_running_since_timestamp_seconds", "gauge", "When the task under way began.", _LABELS
    )
    following = Family(
        "leitstand_backup_next_run_timestamp_seconds",
        "gauge",
        "When the task starts, or was due.",
        _LABELS,
    )
    for task in tasks:
        running.add(int(task in seen.began), task.job, task.action)
        following.add(seen.starts[task].timestamp(), task.job, task.action)
    for task, moment in sorted(seen.began.items()):
        began.add(moment, task.job, task.action)
    waiting = Family("leitstand_backup_queue_length", "gauge", "Tasks that are due and wait for their turn.")
    waiting.add(len(seen.waiting))
    good = Family("leitstand_backup_config_good", "gauge", "Whether the configuration could be read last.")
    good.add(int(seen.config_good))
    ended = Family(
        "leitstand_backup_ended_total", "counter", "Tasks that ended since this service began, by result.",
        (*_LABELS, "result"),
    )  # fmt: skip
    for labels, count in sorted(seen.ended.items()):
        ended.add(count, *labels)
    return [following, running, began, waiting, good, ended]
