"""How much is done at once: so many tasks in all, on each host, and into or out of each store. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Work(Protocol):
    """Something that keeps a host and stores busy."""

    @property
    def job(self) -> str: ...


W = TypeVar("W", bound=Work)


@dataclass(frozen=True)
class Limits:
    """The most that is done at a time."""

    total: int = 4
    per_host: int = 1
    per_store: int = 2


@dataclass(frozen=True)
class Place:
    """What a job keeps busy."""

    host: str
    stores: tuple[str, ...]


def startable(
    queue: Iterable[W], running: Iterable[Work], places: Mapping[str, Place], limits: Limits
) -> list[W]:
    """What of the queue may start now, in its order; what must wait holds nobody behind it up.

    Of one job only one thing is done at a time. A job without a place has left the configuration.
    """
    jobs, hosts, stores = set[str](), Counter[str](), Counter[str]()
    started: list[W] = []

    def take(work: Work) -> None:
        place = places.get(work.job, Place("", ()))
        jobs.add(work.job)
        hosts[place.host] += 1
        stores.update(place.stores)

    count = 0
    for work in running:
        take(work)
        count += 1
    for candidate in queue:
        place = places.get(candidate.job)
        if place is None or candidate.job in jobs or count + len(started) >= limits.total:
            continue
        if hosts[place.host] < limits.per_host and all(stores[s] < limits.per_store for s in place.stores):
            take(candidate)
            started.append(candidate)
    return started
