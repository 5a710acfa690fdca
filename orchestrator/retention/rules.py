"""Which snapshots stay. Pure: times, rules and states in, a decision with its reasons out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from orchestrator.config.settings import Keep
from orchestrator.repository.order import in_order

SHRUNK = 2  # a snapshot more than this many times as large as the newest good one needs an admin's word


@dataclass(frozen=True)
class Candidate:
    """A proven snapshot: name, time, the snapshots that hold its files, size, and the one before it."""

    id: str
    time: datetime
    complete: bool
    layers: tuple[str, ...] = ()
    entries: int = 0
    content_bytes: int = 0
    previous: str = ""


@dataclass
class Decision:
    """Whether a snapshot stays, and why: the rules that keep it; none means that it goes.

    ``held`` is the newest good one, when that is so small that a person should look before this one goes.
    """

    candidate: Candidate
    reasons: list[str] = field(default_factory=list)
    held: Candidate | None = None

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


_PERIODS: tuple[tuple[str, Callable[[datetime], object]], ...] = (
    ("hourly", lambda time: (time.date(), time.hour, time.utcoffset())),
    ("daily", lambda time: time.date()),
    ("weekly", lambda time: time.isocalendar()[:2]),
    ("monthly", lambda time: (time.year, time.month)),
    ("yearly", lambda time: time.year),
)


def decide(candidates: Iterable[Candidate], keep: Keep, zone: ZoneInfo) -> list[Decision]:
    """A decision for each snapshot, newest first.

    ``hourly: 3`` keeps the newest snapshot of each of the three newest hours that have one, and so on; days
    begin at midnight in ``zone``. ``within`` counts back from the newest snapshot, not from the clock of this
    machine. The newest ``min`` snapshots without errors always stay, and so does each one that holds files of
    one that stays. One more than twice as large as the newest good one is held: was the source emptied?
    """
    decisions = [Decision(each) for each in reversed(in_order(candidates))]
    if keep.keeps_everything:
        return [Decision(each.candidate, ["no rule deletes"]) for each in decisions]
    good = [each for each in decisions if each.candidate.complete]
    _newest(good, keep.min, "newest good" if keep.min == 1 else f"min {keep.min}")
    _newest(decisions, keep.last, f"last {keep.last}")
    _within(decisions, keep)
    for name, period in _PERIODS:
        _periods(decisions, name, getattr(keep, name), period, zone)
    _hold_larger(decisions, (good or decisions)[:1])
    _layers(decisions)
    return decisions


def _newest(decisions: Sequence[Decision], count: int, reason: str) -> None:
    for decision in decisions[:count]:
        decision.reasons.append(reason)


def _within(decisions: Sequence[Decision], keep: Keep) -> None:
    if keep.within is None or not decisions:
        return
    oldest = decisions[0].candidate.time - keep.within
    for decision in decisions:
        if decision.candidate.time >= oldest:
            decision.reasons.append("within")


def _periods(
    decisions: Sequence[Decision],
    name: str,
    count: int,
    period: Callable[[datetime], object],
    zone: ZoneInfo,
) -> None:
    # A partial snapshot represents its period only if there is no complete one.
    seen: dict[object, Decision] = {}
    for decision in decisions:
        which = period(decision.candidate.time.astimezone(zone))
        if which not in seen:
            if len(seen) == count:
                break
            seen[which] = decision
        elif decision.candidate.complete and not seen[which].candidate.complete:
            seen[which] = decision
    for number, decision in enumerate(seen.values(), start=1):
        decision.reasons.append(f"{name} {number} of {count}")


def _hold_larger(decisions: Sequence[Decision], newest: Sequence[Decision]) -> None:
    for decision in decisions if newest else ():
        now, then = newest[0].candidate, decision.candidate
        if not decision.stays and (
            then.entries > SHRUNK * now.entries or then.content_bytes > SHRUNK * now.content_bytes
        ):
            decision.held = now


def _layers(decisions: Sequence[Decision]) -> None:
    by_id = {decision.candidate.id: decision for decision in decisions}
    for decision in decisions:
        for layer in decision.candidate.layers if decision.stays or decision.held else ():
            other = by_id.get(layer)
            if other is not None and other is not decision:
                other.reasons.append(f"holds files of {decision.candidate.id}")
