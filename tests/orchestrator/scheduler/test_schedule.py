"""When a job runs, in every time zone, through every change of the clocks."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from orchestrator.config.schedule import Schedule, parse_schedule
from orchestrator.scheduler.units import timer_lines

# Changes at night and at midnight, by half an hour, on a day that never was, in both hemispheres; none.
ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia"),
    *("Africa/Cairo", "America/Santiago", "Asia/Kathmandu", "UTC", "Asia/Beirut"),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.datetimes(datetime(2009, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
SPRING = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 02:00 becomes 03:00 in Berlin at 01:00 UTC
AUTUMN = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 03:00 becomes 02:00 in Berlin at 01:00 UTC


@st.composite
def cron(draw: st.DrawFn) -> str:
    """Five fields that name a time which comes."""

    def field(low: int, high: int) -> str:
        kind = draw(st.sampled_from("*/,-1"))
        first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
        options = {"*": "*", "/": f"*/{max(1, last)}", ",": f"{first},{last}", "-": f"{first}-{last}"}
        return options.get(kind, str(first))

    return f"{field(0, 59)} {field(0, 23)} {field(1, 28)} {field(1, 12)} {field(0, 6)}"


schedules = st.one_of(
    clocks.map("daily {}".format),
    st.builds("weekly {} {}".format, st.sampled_from(["mon", "Sunday", "fri"]), clocks),
    st.builds("monthly {} {}".format, st.integers(1, 28), clocks),
    st.sampled_from(["hourly", "daily", "weekly", "monthly"]),
    cron(),
).map(parse_schedule)


def local(schedule: Schedule, moment: datetime, zone: ZoneInfo) -> datetime:
    found = schedule.next_after(moment.astimezone(zone))
    assert found is not None
    return found


@given(schedules, moments, zones)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_the_next_start_comes_later_and_nothing_is_left_out(
    schedule: Schedule, moment: datetime, zone: ZoneInfo
) -> None:
    first = local(schedule, moment, zone)
    assert first.astimezone(UTC) > moment
    between = moment + (first.astimezone(UTC) - moment) / 2
    assert local(schedule, between, zone) == first, "asked in between, the answer is the same"


@given(clocks, moments, zones)
@settings(max_examples=200, derandomize=True, deadline=None)
@example("02:30", SPRING, ZoneInfo("Europe/Berlin"))
@example("02:30", AUTUMN, ZoneInfo("Europe/Berlin"))
@example("00:00", datetime(2011, 12, 29, 12, tzinfo=UTC), ZoneInfo("Pacific/Apia"))
def test_a_daily_job_runs_once_a_day_across_clock_changes(
    clock: str, moment: datetime, zone: ZoneInfo
) -> None:
    schedule, starts = parse_schedule(f"daily {clock}"), [moment]
    for _ in range(5):
        starts.append(local(schedule, starts[-1], zone).astimezone(UTC))
    days = [start.astimezone(zone).date() for start in starts[1:]]
    assert len(set(days)) == len(days)
    for earlier, later in pairwise(starts[1:]):
        assert timedelta(hours=22, minutes=59) <= later - earlier <= timedelta(hours=25)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("daily 02:30", SPRING, "2026-03-29T03:30:00+02:00"),  # the hour is not there: an hour later
        ("daily 03:00", SPRING, "2026-03-29T03:00:00+02:00"),
        ("daily 02:30", AUTUMN - timedelta(hours=1), "2026-10-25T02:30:00+02:00"),  # twice there: the first
        ("daily 02:30", AUTUMN, "2026-10-26T02:30:00+01:00"),  # and not the second
        ("30 2,3 * * *", SPRING, "2026-03-29T03:30:00+02:00"),
        ("0 3 29 3 *", SPRING, "2026-03-29T03:00:00+02:00"),
        ("30,0 2-3 * * *", SPRING, "2026-03-29T03:00:00+02:00"),  # the earliest, not the one put off
        ("0 3 13 * fri", datetime(2026, 11, 1, tzinfo=UTC), "2026-11-06T03:00:00+01:00"),  # either day
        ("0 3 29 2 *", datetime(2026, 1, 1, tzinfo=UTC), "2028-02-29T03:00:00+01:00"),
        ("59 23 31 12 *", datetime(2026, 1, 1, tzinfo=UTC), "2026-12-31T23:59:00+01:00"),
        ("0 0 1 1 *", datetime(2026, 1, 1, tzinfo=UTC), "2027-01-01T00:00:00+01:00"),
        ("hourly", datetime(2026, 11, 21, 10, 1, tzinfo=UTC), "2026-11-21T12:00:00+01:00"),
        ("daily", datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21T04:00:00+01:00"),
        ("weekly", datetime(2026, 11, 21, tzinfo=UTC), "2026-11-22T04:00:00+01:00"),
        ("monthly", datetime(2026, 11, 21, tzinfo=UTC), "2026-12-01T04:00:00+01:00"),
    ],
)
def test_in_berlin(text: str, after: datetime, expected: str) -> None:
    assert local(parse_schedule(text), after, ZoneInfo("Europe/Berlin")).isoformat() == expected


@given(schedules)
@settings(max_examples=50, derandomize=True, deadline=None)
def test_no_two_starts_are_further_apart_than_the_interval(schedule: Schedule) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(20):
        following = local(schedule, moment, ZoneInfo("UTC"))
        assert moment.year == 2026 or following - moment <= schedule.interval
        moment = following


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("every 1m", timedelta(minutes=1)),
        ("hourly", timedelta(hours=1)),
        ("daily 03:00", timedelta(days=1)),
        ("0 3,13 * * *", timedelta(hours=14)),  # over midnight
        ("0 3,19 * * *", timedelta(hours=16)),  # within the day
        ("0 3 * * 7", timedelta(days=7)),
        ("0 3,15 * * sat,sun", timedelta(days=5, hours=12)),
        ("monthly 28 03:00", timedelta(days=31)),
        ("0 3 29 2 *", timedelta(days=4 * 365 + 1)),
        ("0 0 */15 1 */4", timedelta(days=761 - 1)),
    ],
)
def test_the_longest_time_between_two_starts(text: str, longest: timedelta) -> None:
    assert parse_schedule(text).interval == longest


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN"])
def test_cron_has_two_numbers_for_sunday(sunday: str) -> None:
    following = local(
        parse_schedule(f"0 3 * * {sunday}"), datetime(2026, 11, 21, tzinfo=UTC), ZoneInfo("UTC")
    )
    assert following == datetime(2026, 11, 22, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "daily 25:00",
            "sometimes",
            "0 3 31 2 *",
            "* * * *",
            "every 59s",
            "monthly 29 03:00",
            "monthly 0 03:00",
            "monthly ² 03:00",
        ),
        *("x * * * *", "0 noon * * *", "0 3 1-x * *", "0 3 * foo *", "0 3 * * funday", "*/x * * * *"),
        *("60 * * * *", "0 24 * * *", "0 3 0 * *", "0 3 32 * *", "0 3 1 0 *", "0 3 1 13 *", "0 3 * * 8"),
    ],
)
def test_an_invalid_schedule_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as|must be within|never comes|shortest interval"):
        parse_schedule(text)


def systemd_starts(line: str, base: datetime, count: int) -> list[datetime]:
    """The next starts of one OnCalendar line, as systemd itself counts them."""
    argv = ["systemd-analyze", "calendar", f"--iterations={count}"]
    argv += [f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC", line.removeprefix("OnCalendar=")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"TZ": "UTC"})
    times = re.findall(
        r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w{3} ([-0-9]{10} [:0-9]{8}) UTC", done.stdout
    )
    return [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times]


@given(schedules, moments)
@settings(max_examples=25, derandomize=True, deadline=None)
def test_systemd_starts_at_the_same_times(schedule: Schedule, moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assume(moment.second or moment.minute)
    expected, at = [], moment
    for _ in range(3):
        at = local(schedule, at, ZoneInfo("UTC"))
        expected.append(at)
    lines = timer_lines(schedule, "UTC")
    assert sorted({s for line in lines for s in systemd_starts(line, moment, 3)})[:3] == expected


NIGHT = datetime(2027, 3, 28, 1, tzinfo=UTC)  # the clocks of Berlin skip 02:00 to 03:00
CHANGES = {
    "spring in Berlin": ("Europe/Berlin", NIGHT),
    "autumn in Berlin": ("Europe/Berlin", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    "spring in New York": ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    "autumn in New York": ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    "spring by half an hour": ("Australia/Lord_Howe", datetime(2027, 10, 2, 15, 30, tzinfo=UTC)),
    "spring at midnight": ("America/Havana", datetime(2027, 3, 14, 5, tzinfo=UTC)),
}


@pytest.mark.parametrize(("zone", "change"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "text", ["daily 02:30", "daily 00:10", "daily 02:15", "hourly", "*/30 1-3 * * *", "30 2 28 * sun"]
)
def test_timers_and_serve_start_at_the_same_times_when_the_clocks_change(
    zone: str, change: datetime, text: str
) -> None:
    schedule, begin, end = parse_schedule(text), change - timedelta(hours=26), change + timedelta(hours=26)
    by_serve, at = set(), begin
    while (at := local(schedule, at, ZoneInfo(zone)).astimezone(UTC)) < end:
        by_serve.add(at)
    lines = [line for line in timer_lines(schedule, zone, 2027) if not re.match(r"OnCalendar=20(28|3)", line)]
    by_timer = {start for line in lines for start in systemd_starts(line, begin, 56) if begin < start < end}
    assert by_timer == by_serve
    assert by_serve or text == "30 2 28 * sun"


def test_a_start_that_is_skipped_is_written_down_for_ten_years_and_no_other_is() -> None:
    lines = timer_lines(parse_schedule("daily 02:30"), "Europe/Berlin", 2027)
    assert lines[:2] == ["OnCalendar=*-*-* 02:30:00 Europe/Berlin", "OnCalendar=2027-03-28 01:30:00 UTC"]
    assert len(lines) == 11
    for text, zone in (
        ("daily 03:00", "Europe/Berlin"),
        ("daily 02:30", "UTC"),
        ("weekly mon 02:30", "Europe/Berlin"),
    ):
        assert len(timer_lines(parse_schedule(text), zone, 2027)) == 1
