"""Compare a store with what is known of it, to find snapshots that should still be there and are gone.

Known is what this host has seen there, in its state folder; to a host that has seen nothing yet, what each
snapshot signs of the one before it. What a prune removed, here or elsewhere, is not missed: `keep` would not
keep it. So a machine that prunes must have the same `keep`.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from orchestrator.config.settings import Keep
from orchestrator.config.stores import S3Settings
from orchestrator.repository.catalog import Listed, is_held, proven, scan
from orchestrator.repository.keys import KeyRing
from orchestrator.repository.layout import COMMIT, SnapshotName
from orchestrator.repository.order import Dated, in_order
from orchestrator.retention.rules import Candidate, decide
from orchestrator.state.context import Context
from orchestrator.state.facts import StoreFacts, only
from orchestrator.stores import Store, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """The result of a look: the complete snapshots in order, and those that are ``lost``: name -> a line."""

    listed: list[Listed]
    lost: Mapping[str, str] = field(default_factory=dict)


def _known(facts: StoreFacts, bucket: str) -> dict[str, str]:
    """The snapshots that were seen in a store, oldest first, with their states."""
    if facts.bucket not in ("", bucket):
        return {}
    if facts.known or not facts.last_snapshot:
        return dict(facts.known)
    return {facts.last_snapshot: "complete"}  # of an older Leitstand, which noted the last one alone


def missing(
    listed: Sequence[Listed],
    known: Mapping[str, str],
    keep: Keep,
    zone: ZoneInfo,
    now: datetime,
    held: Collection[str] = (),
) -> list[str]:
    """The snapshots that were there and are not, though ``keep`` or a person wants them, oldest first."""
    there = {each.id for each in listed}
    signed = {each.previous: "complete" for each in listed if each.previous} if not known else {}
    gone = {name: state for name, state in {**signed, **known}.items() if name not in there}
    if not gone:
        return []
    candidates = [
        *(
            Candidate(each.id, min(each.time, now), _is_good(each, known), (), 0, 0, each.previous)
            for each in listed
        ),
        *(Candidate(name, min(_began(name), now), state == "complete") for name, state in gone.items()),
    ]
    kept = {each.candidate.id for each in decide(candidates, keep, zone) if each.stays}
    return sorted(kept.union(held) & gone.keys())


def _is_good(listed: Listed, known: Mapping[str, str]) -> bool:
    return (listed.state if not listed.doubt else known.get(listed.id)) == "complete"


def _bucket(context: Context, store: Store) -> str:
    settings = context.settings.stores[store.name]
    return settings.bucket if isinstance(settings, S3Settings) else ""


def _began(snapshot_id: str) -> datetime:
    return SnapshotName("", "", snapshot_id).began


def look(context: Context, job_name: str, store: Store, keys: KeyRing, *, forget: bool = False) -> Look:
    """Prove what is there, compare it with what is known, and remember it. Raises StoreError.

    ``forget`` what was known: what is there is all that should be.
    """
    job, facts = context.job(job_name), context.facts().of(job_name, store.name)
    now = datetime.now(UTC)
    listed = proven(store, scan(store, job.host, job_name), keys, now)
    known = {} if forget else _known(facts, _bucket(context, store))
    found = Look(listed, _lost(context, job_name, store, listed, known, now))
    _note(context, job_name, store, facts, Look(listed) if forget else found)
    return found


def learn(context: Context, job_name: str, store: Store, keys: KeyRing) -> Sequence[str]:
    """The snapshots in a store, oldest first, which a run must know before it adds one.

    Only what this host has not seen yet is read. A store that cannot be listed has what is known of it.
    """
    job, facts = context.job(job_name), context.facts().of(job_name, store.name)
    known, now = _known(facts, _bucket(context, store)), datetime.now(UTC)
    try:
        there = [each for each in scan(store, job.host, job_name) if each.committed is not None]
        new = proven(store, [each for each in there if each.id not in known], keys, now)
        lost = _lost(
            context, job_name, store, [*(each for each in there if each.id in known), *new], known, now
        )
    except StoreError as error:
        _log.debug("%s: its snapshots cannot be listed: %s", store.name, error)
        return list(known)
    for what in lost.values():
        _log.info("%s: %s: %s", job_name, store.name, what)
    names = {each.id for each in there} | lost.keys()
    last = max(map(_began, list(known)[-1:]), default=now)
    before = {each.id: each.state for each in new if not each.doubt and each.began < last}
    since = {each.id: each.state for each in new if not each.doubt and each.id not in before}
    known = {**before, **{name: state for name, state in known.items() if name in names}, **since}
    bucket = _bucket(context, store)
    context.facts().update(
        job_name, store.name, lambda facts: replace(facts, known=known, lost=lost, bucket=bucket)
    )
    return list(known)


def missed(context: Context, job_name: str, store: Store, listed: Sequence[Listed]) -> dict[str, str]:
    """The lost snapshots of a job in a store, by what is known now; nothing is remembered."""
    known = _known(context.facts().of(job_name, store.name), _bucket(context, store))
    return _lost(context, job_name, store, listed, known, datetime.now(UTC))


def _lost(
    context: Context,
    job_name: str,
    store: Store,
    listed: Sequence[Listed],
    known: Mapping[str, str],
    now: datetime,
) -> dict[str, str]:
    job, zone = context.job(job_name), context.fleet.site.zone
    facts = context.facts().of(job_name, store.name)
    gone = missing(listed, known, job.keep, zone, now, facts.held)
    # One that is forgotten may have lost its COMMIT in a prune that was killed.
    names = [SnapshotName(job.host, job_name, name) for name in gone if name not in facts.forgotten]
    # Listings may lag behind: what one does not show is asked for.
    return {name.id: is_gone(name, zone) for name in names if store.stat(name.key(COMMIT)) is None}


def is_gone(name: SnapshotName, zone: tzinfo) -> str:
    """The message about a lost snapshot."""
    return f"snapshot {name.id} of {name.began.astimezone(zone):%-d %B %Y} is gone"


def _note(context: Context, job_name: str, store: Store, before: StoreFacts, seen: Look) -> None:
    good = [each for each in seen.listed if not each.doubt]
    if not os.access(context.state if context.state.exists() else context.state.parent, os.W_OK):
        return  # who may not note it may look all the same
    bucket = _bucket(context, store)
    known = _known(before, bucket)
    doubtful = {
        each.id: f"{each.state}: {each.doubt}" for each in seen.listed if each.doubt and each.id in known
    }
    there = {each.id: each.state for each in good}
    wanted = {**dict.fromkeys(seen.lost, "complete"), **known, **there}
    gone = [Candidate(name, _began(name), complete=True) for name in wanted if name not in there]
    order: list[Dated] = [*gone, *good]
    held = {each.id for each in good if is_held(each)} | seen.lost.keys() & set(before.held)
    kept = {*seen.lost, *doubtful, *there}
    remembered = {each.id: wanted[each.id] for each in in_order(order) if each.id in kept}

    def change(now: StoreFacts) -> StoreFacts:
        # A run may have added one since they were read.
        added = {name: state for name, state in now.known.items() if name not in before.known}
        return replace(
            _with_last_success(now, before, good),
            snapshots=len(good),
            oldest=good[0].time.timestamp() if good else 0,
            damaged=only(now.damaged, {each.id for each in seen.listed}),
            known={**remembered, **added},
            bucket=bucket,
            held=sorted(held),
            lost=dict(seen.lost),
            doubtful=doubtful,
        )

    context.facts().update(job_name, store.name, change)


def _with_last_success(now: StoreFacts, before: StoreFacts, good: Sequence[Listed]) -> StoreFacts:
    """The last good run is the newest one whose snapshot is there, also one of another machine."""
    newest = good[-1] if good else None
    is_back = newest is not None and newest.id in {*before.lost, *before.doubtful}
    is_there = not before.last_snapshot or before.last_snapshot in {each.id for each in good}
    if is_there and not is_back and (before.last_run or before.last_snapshot):
        return now
    meta = newest.meta if newest else None
    return replace(
        now,
        last_snapshot=newest.id if newest else "",
        last_success=newest.time.timestamp() if newest else 0,
        stored_bytes=meta.archive_bytes + meta.manifest_bytes if meta else 0,
    )
