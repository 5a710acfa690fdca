"""The order of a job's snapshots, by their signed contents. Pure.

A store's times are not reliable: copying, moving or restoring the store changes them. They, and the current
time, only show that a machine's clock was ahead when it named a snapshot.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Dated(Protocol):
    """Something to sort: a name, the time in it, and the name of its predecessor ("": unknown)."""

    @property
    def id(self) -> str: ...
    @property
    def time(self) -> datetime: ...
    @property
    def previous(self) -> str: ...


class Stored(Protocol):
    """A snapshot in a store. ``committed`` is the store's own time of it."""

    @property
    def id(self) -> str: ...
    @property
    def began(self) -> datetime: ...
    @property
    def committed(self) -> datetime | None: ...
    @property
    def previous(self) -> str: ...


T = TypeVar("T", bound=Dated)


def in_order(snapshots: Iterable[T]) -> list[T]:
    """Oldest first: by time, but none before its predecessor."""
    found = {each.id: each for each in snapshots}
    followers: dict[str, list[T]] = {}
    ready: list[tuple[datetime, str]] = []
    for each in found.values():
        if each.previous in found and each.previous != each.id:
            followers.setdefault(each.previous, []).append(each)
        else:
            heapq.heappush(ready, (each.time, each.id))
    ordered = []
    while ready:
        _, name = heapq.heappop(ready)
        ordered.append(found[name])
        for each in followers.get(name, ()):
            heapq.heappush(ready, (each.time, each.id))
    rest = found.keys() - {each.id for each in ordered}  # a cycle of predecessors: not ours
    return ordered + [found[name] for name in sorted(rest)]


def times(snapshots: Sequence[Stored], now: datetime) -> Mapping[str, datetime]:
    """When each was made: the time in its name, unless that clock was ahead.

    It was ahead if the store got the snapshot before that time, or if that time is in the future. A snapshot
    from the future is no later than the one after it.
    """
    result = {each.id: min(each.began, each.committed or now, now) for each in snapshots}
    followers: dict[str, list[str]] = {}
    for each in snapshots:
        followers.setdefault(each.previous, []).append(each.id)
    for each in sorted(snapshots, key=lambda each: each.began, reverse=True):
        if each.began > now:
            result[each.id] = min([result[each.id], *(result[name] for name in followers.get(each.id, ()))])
    return result
