"""When a job runs: ``daily 03:00``, ``weekly sun 03:00``, ``every 6h``, or cron's five fields.

``daily``, ``weekly`` and ``monthly`` alone mean 04:00, on Sundays, on the first of the month.

Pure: text in, times out. All but ``every`` become cron's sets of minutes, hours, days and months.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from leitstand.settings.models import parse_duration

HELP = (
    "write it as hourly, daily 03:00, weekly sun 03:00, monthly 1 03:00, every 6h or '0 3 * * *' as in cron"
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CRON_WEEKDAYS = ("sun", *WEEKDAYS[:-1])  # cron counts from Sunday, and takes 7 for it too
_CALENDAR_DAYS = 366 * 41  # 29 February is a Sunday every 28 years, 40 years apart over 2100
_DEFAULTS = {"daily": "04:00", "weekly": "sun 04:00", "monthly": "1 04:00"}
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class Schedule:
    """Minutes of the day and days on which a job starts, or a fixed interval between two starts."""

    text: str
    every: timedelta | None = None
    minutes: tuple[int, ...] = ()  # of the day, sorted
    days: frozenset[int] = frozenset(range(1, 32))
    months: frozenset[int] = frozenset(range(1, 13))
    weekdays: frozenset[int] = frozenset(range(7))  # Monday is 0, as in datetime
    either_day: bool = False  # cron: with both days restricted, one of them is enough

    def starts_on(self, day: date) -> bool:
        of_month, of_week = day.day in self.days, day.weekday() in self.weekdays
        fits = (of_month or of_week) if self.either_day else (of_month and of_week)
        return fits and day.month in self.months

    def next_after(self, moment: datetime) -> datetime | None:
        """The first start after ``moment`` in its time zone; None if there is none within forty years.

        A start that falls into the hour skipped in spring happens at the time that hour becomes.
        """
        if self.every is not None:
            return moment + self.every
        for offset in range(_CALENDAR_DAYS):
            day = moment.date() + timedelta(days=offset)
            if self.starts_on(day):
                # The earliest, not the first: one put off by the skipped hour may come after its successor.
                starts = (_at(day, minute, moment) for minute in self.minutes)
                later = [start for start in starts if start > moment.astimezone(UTC)]
                if later:
                    return min(later).astimezone(moment.tzinfo)
        return None

    @property
    def interval(self) -> timedelta:
        """The longest time between two starts, for judging the age of a backup."""
        if self.every is not None:
            return self.every
        within_day = max((later - earlier for earlier, later in pairwise(self.minutes)), default=0)
        over_days = _longest_days(self) * 1440 - self.minutes[-1] + self.minutes[0]
        return timedelta(minutes=max(within_day, over_days))


@lru_cache(maxsize=1024)
def _longest_days(schedule: Schedule) -> int:
    first = date(2024, 1, 1)
    calendar = (first + timedelta(days=offset) for offset in range(_CALENDAR_DAYS))
    return max((later - earlier).days for earlier, later in pairwise(filter(schedule.starts_on, calendar)))


def _at(day: date, minute: int, like: datetime) -> datetime:
    return datetime.combine(day, time(minute // 60, minute % 60), like.tzinfo).astimezone(UTC)


def parse_schedule(text: str) -> Schedule:
    """The schedule a text means. Raises ValueError saying how to write one."""
    words = text.lower().split()
    match words:
        case ["hourly"]:
            return Schedule(text, minutes=tuple(range(0, 1440, 60)))
        case ["daily" | "weekly" | "monthly" as pace]:
            return replace(parse_schedule(f"{pace} {_DEFAULTS[pace]}"), text=text)
        case ["daily", clock]:
            return Schedule(text, minutes=(_minute_of_day(clock),))
        case ["weekly", day, clock] if day[:3] in WEEKDAYS:
            return Schedule(
                text, minutes=(_minute_of_day(clock),), weekdays=frozenset([WEEKDAYS.index(day[:3])])
            )
        case ["monthly", day, clock] if day.isdecimal() and 1 <= int(day) <= 28:
            return Schedule(text, minutes=(_minute_of_day(clock),), days=frozenset([int(day)]))
        case ["every", length]:
            return _every(text, length)
        case [minutes, hours, days, months, weekdays]:
            return _cron(text, minutes, hours, days, months, weekdays)
    raise ValueError(_advice(words))


def _advice(words: list[str]) -> str:
    """The fault of a text that begins like a schedule; otherwise how to write one."""
    match words:
        case ["monthly", day, *_] if day.isdecimal() and 29 <= int(day) <= 31:
            return "29 to 31 are not in every month: write it as monthly 28 03:00 or monthly 1 03:00"
        case ["weekly" | "monthly" as pace, *_]:
            return f"'{pace}' takes a day and a time, or neither: write it as {pace} {_DEFAULTS[pace]}"
        case [clock] if _TIME.match(clock):
            return f"how often? write it as daily {clock}"
    return HELP


def _every(text: str, length: str) -> Schedule:
    every = parse_duration(length)
    if every < timedelta(minutes=1):
        raise ValueError("the shortest interval between two runs is 1m")
    return Schedule(text, every=every)


def _minute_of_day(clock: str) -> int:
    found = _TIME.fullmatch(clock)
    if found is None:
        raise ValueError(f"'{clock}' is not a time of day; write it as 03:00")
    return int(found[1]) * 60 + int(found[2])


def _cron(text: str, minutes: str, hours: str, days: str, months: str, weekdays: str) -> Schedule:
    of_day = {h * 60 + m for h in _field(hours, 0, 23) for m in _field(minutes, 0, 59)}
    schedule = Schedule(
        text,
        minutes=tuple(sorted(of_day)),
        days=frozenset(_field(days, 1, 31)),
        months=frozenset(_field(months, 1, 12, MONTHS)),
        weekdays=frozenset((day - 1) % 7 for day in _field(weekdays, 0, 7, _CRON_WEEKDAYS)),
        either_day=not days.startswith("*") and not weekdays.startswith("*"),
    )
    if schedule.next_after(datetime(2024, 1, 1, tzinfo=UTC)) is None:
        raise ValueError(f"'{text}' names a day that never comes")
    return schedule


def _field(text: str, lowest: int, highest: int, names: Iterable[str] = ()) -> set[int]:
    """One cron field: ``*``, ``5``, ``1-5``, ``*/15``, ``mon,wed``, as the numbers it means."""
    numbers = {name: str(lowest + index) for index, name in enumerate(names)}
    result: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        bounds = (
            (str(lowest), str(highest)) if span == "*" else (first, last or (str(highest) if step else first))
        )
        try:
            low, high = (int(numbers.get(bound, bound)) for bound in bounds)
            pace = int(step or 1)
        except ValueError:
            raise ValueError(HELP) from None
        if not lowest <= low <= high <= highest or pace < 1:
            raise ValueError(f"'{part}' must be within {lowest}-{highest}")
        result.update(range(low, high + 1, pace))
    return result
