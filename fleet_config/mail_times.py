"""The template that writes a time into a mail, in the site's zone.

Alertmanager's templates know UTC and the zone that Alertmanager itself was started in. So every change of the
zone's clocks in the years to come is written down.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)


def time_template(zone: ZoneInfo) -> str:
    """``leitstand.time``: a time of an alert as ``2026-12-01 03:00:00 CET``."""
    spans = list(_spans(zone))
    branches = "".join(
        f"{{{{ {'if' if index == 0 else 'else if'} lt .Unix {end:.0f} }}}}{_shown(begin)}"
        for index, (begin, end) in enumerate(spans[:-1])
    )
    last = _shown(spans[-1][0])
    body = f"{branches}{{{{ else }}}}{last}{{{{ end }}}}" if branches else last
    return f'{{{{ define "leitstand.time" }}}}{body}{{{{ end }}}}\n'


def _shown(begin: datetime) -> str:
    offset = begin.utcoffset() or timedelta(0)
    nanoseconds = round(offset.total_seconds()) * 10**9
    return f'{{{{ (.UTC.Add {nanoseconds}).Format "2006-01-02 15:04:05" }}}} {begin.tzname()}'


def _spans(zone: ZoneInfo) -> Iterator[tuple[datetime, float]]:
    """Each span of one offset: a moment in it, and when it ends, in seconds since 1970."""
    begin, at = FIRST.astimezone(zone), FIRST
    while at < LAST:
        at += timedelta(days=1)
        if _offset(at, zone) != begin.utcoffset():
            change = _change(at - timedelta(days=1), at, zone)
            yield begin, change.timestamp()
            begin = change.astimezone(zone)
    yield begin, LAST.timestamp()


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """When within a day the offset changes, to the minute."""
    while after - before > timedelta(minutes=1):
        middle = before + timedelta(minutes=(after - before) // timedelta(minutes=2))
        if _offset(middle, zone) == _offset(before, zone):
            before = middle
        else:
            after = middle
    return after


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
