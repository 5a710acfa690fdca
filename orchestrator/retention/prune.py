"""Delete what `keep` does not retain: marked first, deleted after a grace period, by the store's own times.

Which snapshots stay is decided by what they sign of themselves. Only those whose COMMIT was made with our
keys count and are ever deleted: forged ones cannot push good snapshots out of `keep`. A snapshot without
COMMIT that did not grow for two days was left by an interrupted run.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from orchestrator.config.settings import Job
from orchestrator.config.sizes import size
from orchestrator.repository.catalog import Listed, is_held, proven, scan
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import (
    CANARY,
    COMMIT,
    LEASE,
    MARK,
    SnapshotName,
    is_object_name,
    job_prefix,
)
from orchestrator.retention.rules import Candidate, Decision, decide
from orchestrator.stores import Store, StoreError

_log = logging.getLogger(__name__)
ABANDONED = timedelta(hours=48)
AHEAD = timedelta(days=1)  # a mark further in the future was made by a clock that was ahead
_FORGOTTEN = "forgotten by hand"
LITTER = (LEASE, CANARY)


FEWEST = 3  # with this many marks at once, more than the job's share, an admin must confirm


@dataclass(frozen=True)
class Step:
    """The action on one snapshot, and why.

    ``action``: keep, mark, wait, unmark, delete, sweep, hold, stop or refuse. ``let_go``: a person said so.
    ``marks``, of one that is stopped: how many would be marked at once.
    """

    listed: Listed
    action: str
    why: str
    let_go: bool = False
    marks: int = 0


@dataclass(frozen=True)
class Word:
    """Decisions of an admin, or of an earlier check, about a job's snapshots in a store.

    ``damaged`` do not count as good ones. Of those much larger than the newest good one only the ``released``
    are not held; None: all. ``marks`` is how many may be marked at once, regardless of the job's share.
    ``pruned`` are those that the last prune left; None: there was none yet. ``forgotten`` are to go.
    """

    damaged: Collection[str] = ()
    released: Collection[str] | None = ()
    marks: int | None = None
    pruned: Collection[str] | None = None
    forgotten: Collection[str] = ()


def plan(
    store: Store, job_name: str, job: Job, keys: KeyRing, now: datetime, zone: ZoneInfo, word: Word
) -> list[Step]:
    """The steps of a prune of this job in this store, newest first. Changes nothing."""
    listed = scan(store, job.host, job_name)
    committed = {each.id: each for each in proven(store, listed, keys, now)}
    good = [each for each in committed.values() if not each.doubt]
    wanted = [each for each in good if each.id not in word.forgotten or is_held(each)]
    decisions = decide([_candidate(each, word) for each in wanted], job.keep, zone)
    for decision in decisions:
        if is_held(committed[decision.candidate.id]):
            decision.reasons.append("held by hand")
    forgotten = [_going(each, job, now, _FORGOTTEN, let_go=True) for each in good if each not in wanted]
    steps = [_step(committed[each.candidate.id], each, job, now, word) for each in decisions]
    refused = [
        Step(each, "refuse", f"{each.state}: {each.doubt}") for each in committed.values() if each.doubt
    ]
    swept = [_sweep_step(each, now) for each in listed if each.committed is None]
    return [*_braked([*steps, *forgotten], job, len(committed), word), *refused, *swept]


def _candidate(listed: Listed, word: Word) -> Candidate:
    meta = listed.meta
    assert meta is not None  # noqa: S101 - it is proven
    complete = meta.state == "complete" and listed.id not in word.damaged
    sizes = (meta.entries, meta.content_bytes)
    return Candidate(listed.id, listed.time, complete, meta.layers, *sizes, meta.previous)


def _braked(steps: list[Step], job: Job, count: int, word: Word) -> list[Step]:
    """The steps, or none that deletes when too many would go at once: the order or the rules may be wrong.

    As many as were made since the last prune may always go: each new one takes the place of an older one.
    """
    marks = sum(step.action == "mark" and not step.let_go for step in steps)
    new = 0 if word.pruned is None else sum(step.listed.id not in word.pruned for step in steps)
    most = job.prune.most_percent
    if marks < FEWEST or marks <= new or marks * 100 <= most * count or marks == word.marks:
        return steps
    why = f"{marks} of {count} snapshots would be marked at once, more than {most} %"
    return [
        replace(step, action="stop", marks=marks, why=f"{why}: {step.why}")
        if step.action in ("mark", "delete")
        else step
        for step in steps
    ]


def too_many(steps: Sequence[Step]) -> int | None:
    """How many would be marked by a prune that was stopped for that; None for one that was not."""
    return next((step.marks for step in steps if step.action == "stop"), None)


def _step(listed: Listed, decision: Decision, job: Job, now: datetime, word: Word) -> Step:
    marked, let_go = _marked(listed), word.released is None or listed.id in word.released
    if decision.stays:
        why = ", ".join(decision.reasons)
        return Step(listed, "unmark", f"wanted again: {why}") if marked else Step(listed, "keep", why)
    if decision.held and not let_go:
        sizes = f"{_size(decision.candidate)}, the newest good one only {_size(decision.held)}"
        return Step(listed, "hold", f"no rule keeps it, but it has {sizes}")
    return _going(listed, job, now, "no rule keeps it", let_go=bool(decision.held))


def _going(listed: Listed, job: Job, now: datetime, why: str, *, let_go: bool) -> Step:
    marked = _marked(listed)
    if marked is None or marked > now + AHEAD:
        return Step(listed, "mark", f"{why}; deleted in {_days(job.keep.grace)}", let_go=let_go)
    left = job.keep.grace - (now - marked)
    if left > timedelta(0):
        return Step(listed, "wait", f"{why}; deleted in {_days(left)}")
    return Step(listed, "delete", f"{why}; marked since {_shown(marked, now)}")


def _shown(moment: datetime, now: datetime) -> str:
    return f"{moment.astimezone(now.tzinfo):%Y-%m-%d %H:%M %Z}"


def _sweep_step(listed: Listed, now: datetime) -> Step:
    newest = _newest_object(listed)
    if now - newest < ABANDONED:
        return Step(listed, "wait", "no COMMIT: a run in progress, or one that died")
    return Step(listed, "sweep", f"no COMMIT, nothing new since {_shown(newest, now)}")


def _newest_object(listed: Listed) -> datetime:
    return max(info.modified for info in listed.objects)


def sweep_rests(store: Store, listed: Sequence[Listed]) -> None:
    """Remove leftovers of interrupted runs from a store, by its own times; denials are ignored."""
    now = max((_newest_object(each) for each in listed), default=None)
    for each in listed:
        if now is not None and each.committed is None and now - _newest_object(each) >= ABANDONED:
            try:
                _delete(store, each)
            except StoreError as error:
                _log.debug("%s: the leftovers of %s stay: %s", store.name, each.name.id, error)


def _marked(listed: Listed) -> datetime | None:
    times = [info.modified for info in listed.objects if info.key == listed.name.key(MARK)]
    return times[0] if times else None


def _size(candidate: Candidate) -> str:
    return f"{candidate.entries} entries of {size(candidate.content_bytes)}"


def _days(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


def carry_out(store: Store, steps: list[Step]) -> Iterator[Step]:
    """Do what a plan says; gives each step that changed something once it is done."""
    for step in steps:
        name = step.listed.name
        match step.action:
            case "mark":
                store.delete(name.key(MARK))  # one of the future, made by a clock that was ahead
                put_note(store, name, MARK)
            case "unmark":
                store.delete(name.key(MARK))
            case "delete" | "sweep":
                _delete(store, step.listed)
            case _:
                continue
        yield step


def put_note(store: Store, name: SnapshotName, kind: str) -> None:
    """Add a MARK or a HOLD to a snapshot's objects."""
    data = json.dumps({"version": 1, "snapshot": name.id}).encode()
    store.put(name.key(kind), data, sha256=hashlib.sha256(data).hexdigest())


def _delete(store: Store, listed: Listed) -> None:
    """COMMIT goes first, so that a half-deleted snapshot no longer counts; the mark goes last."""
    first, last = listed.name.key(COMMIT), listed.name.key(MARK)
    keys = [info.key for info in listed.objects]
    for key in sorted(keys, key=lambda key: (key != first, key == last, key)):
        store.delete(key)


def sweep_litter(store: Store, job_name: str, job: Job, now: datetime) -> None:
    """Remove abandoned leases and canaries: their owners died, or may not delete."""
    for name in LITTER:
        prefix = f"{job_prefix(job.host, job_name)}{name}/"
        for info in store.list(prefix):
            if is_object_name(info.key.removeprefix(prefix)) and now - info.modified > ABANDONED:
                store.delete(info.key)
