"""Days in the site's time zone, and the share of time a service was available. Pure.

The published formula: available = (up + partly / 2) / (up + partly + down), rounded down to 0.01 %. Announced
maintenance and time without measurement are left out; coverage says how much was measured.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from status_page.snapshot import DayRow

DAYS = 90
Level = Literal["none", "up", "minor", "partial", "down", "maintenance"]
_MINOR_SECONDS, _PARTIAL_SECONDS = 5 * 60, 60 * 60
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Totals:
    """Measured seconds of a span of time."""

    up: float = 0
    partial: float = 0
    down: float = 0

    def less(self, other: "Totals") -> "Totals":
        """The seconds without those measured in ``other``."""
        return Totals(
            max(0.0, self.up - other.up),
            max(0.0, self.partial - other.partial),
            max(0.0, self.down - other.down),
        )


@dataclass(frozen=True, slots=True)
class Uptime:
    """``percent`` in hundredths (9995 is 99.95 %), None if less than half was measured; disturbed seconds."""

    percent: int | None
    coverage: float
    disturbed: int
    disturbed_days: int


def bounds(day: date, zone: ZoneInfo) -> Span:
    """Begin and end of a local day in seconds since 1970: 23, 24 or 25 hours apart where clocks change."""
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return begin.timestamp(), end.timestamp()


def today(now: float, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(now, zone).date()


def window(last: date, count: int = DAYS) -> list[date]:
    """``count`` days that end with ``last``, oldest first."""
    return [last - timedelta(days=back) for back in range(count - 1, -1, -1)]


def merged(spans: Iterable[Span], within: Span) -> list[Span]:
    """The spans cut to ``within``, joined where they overlap, in order."""
    result: list[Span] = []
    for begin, end in sorted((max(b, within[0]), min(e, within[1])) for b, e in spans):
        if begin >= end:
            continue
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def day_row(day: date, elapsed: float, measured: Totals, maintenance: float = 0, unseen: float = 0) -> DayRow:
    """One day's row; ``elapsed`` seconds of it are over, in the first ``unseen`` there was no service yet.

    Never measures more than has elapsed: counting samples can be off by one, and each sample
    counts for too long if probing has become slower. All states are then reduced by the same factor.
    """
    over = max(0, int(elapsed - maintenance))
    counted = measured.up + measured.partial + measured.down
    share = min(1.0, over / counted) if counted else 1.0
    known = min(over, round(counted))
    down = min(round(measured.down * share), known)
    partial = min(round(measured.partial * share), known - down)
    unknown = max(0, over - int(unseen) - known)
    return DayRow(day.isoformat(), known - down - partial, partial, down, int(elapsed) - over, unknown)


def uptime(rows: Sequence[DayRow]) -> Uptime:
    """The published figures over some days."""
    up, partial, down = (sum(getattr(row, name) for row in rows) for name in ("up", "partial", "down"))
    known, unknown = up + partial + down, sum(row.unknown for row in rows)
    coverage = known / (known + unknown) if known else 0.0
    disturbed = [disturbance(row) for row in rows]
    # Whole numbers, so that rounding down is exact.
    percent = (10_000 * (2 * up + partial)) // (2 * known) if known and coverage >= 0.5 else None
    return Uptime(percent, coverage, sum(disturbed), sum(seconds > 0 for seconds in disturbed))


def disturbance(row: DayRow) -> int:
    """Seconds of disturbance, as the formula counts them: partly reachable counts half, rounded up."""
    return row.down + (row.partial + 1) // 2


def level(row: DayRow) -> Level:
    """The look of a day's bar: by minutes of disturbance, else by the most frequent state."""
    disturbed = disturbance(row)
    if disturbed > _PARTIAL_SECONDS:
        return "down"
    if disturbed > _MINOR_SECONDS:
        return "partial"
    if disturbed:
        return "minor"
    if row.maintenance and row.maintenance >= row.known + row.unknown:
        return "maintenance"
    return "up" if row.known and row.known >= row.unknown else "none"
