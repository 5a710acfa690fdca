"""The one order of a job's snapshots, by what they sign of themselves. Pure.

A store's times are no truth: a copy, a move or a restore of the store changes them. They, and the clock of
now, only say that a machine's clock was ahead when it named a snapshot.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar


class Dated(Protocol):
    """What can be put in order: a name, the time in it, and the name of the one before it ("": unknown)."""

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
    """Oldest first: by time, but none before the one it names as its predecessor."""
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
    rest = found.keys() - {each.id for each in ordered}  # each names the next one: nothing of ours
    return ordered + [found[name] for name in sorted(rest)]


def times(snapshots: Sequence[Stored], now: datetime) -> Mapping[str, datetime]:
    """When each was made: the time in its name, unless that clock was ahead.

    It was when the store took the snapshot earlier than that, or the time is yet to come. What is said to be
    of the future is no later than what follows it.
    """
    result = {each.id: min(each.began, each.committed or now, now) for each in snapshots}
    followers: dict[str, list[str]] = {}
    for each in snapshots:
        followers.setdefault(each.previous, []).append(each.id)
    for each in sorted(snapshots, key=lambda each: each.began, reverse=True):
        if each.began > now:
            result[each.id] = min([result[each.id], *(result[name] for name in followers.get(each.id, ()))])
    return result
