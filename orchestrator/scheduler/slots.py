"""How much runs in parallel: tasks in total, per host, and into or out of each store. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.config.tasks import Task


@dataclass(frozen=True)
class Parallelism:
    """The most that is done at a time."""

    total: int = 4
    per_host: int = 1
    per_store: int = 2


@dataclass(frozen=True)
class Resources:
    """The host and the stores that a job uses."""

    host: str
    stores: tuple[str, ...]


def startable(
    queue: Iterable[Task], running: Iterable[Task], resources: Mapping[str, Resources], limits: Parallelism
) -> list[Task]:
    """The tasks of the queue that may start now, in its order; one that waits does not hold up those behind.

    One job runs one task at a time. A job without resources has left the configuration.
    """
    jobs, hosts, stores = set[str](), Counter[str](), Counter[str]()
    started: list[Task] = []

    def take(task: Task) -> None:
        used = resources.get(task.job, Resources("", ()))
        jobs.add(task.job)
        hosts[used.host] += 1
        stores.update(used.stores)

    count = 0
    for task in running:
        take(task)
        count += 1
    for candidate in queue:
        needed = resources.get(candidate.job)
        if needed is None or candidate.job in jobs or count + len(started) >= limits.total:
            continue
        if hosts[needed.host] < limits.per_host and all(stores[s] < limits.per_store for s in needed.stores):
            take(candidate)
            started.append(candidate)
    return started
