"""When a job runs."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.schedule import parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "interval", "following"),
    [
        ("hourly", "1:00:00", "2026-11-20T18:00"),
        ("daily 03:00", "1 day, 0:00:00", "2026-11-21T03:00"),
        ("daily 17:45", "1 day, 0:00:00", "2026-11-20T17:45"),
        ("weekly sun 03:00", "7 days, 0:00:00", "2026-11-22T03:00"),
        ("weekly Friday 17:00", "7 days, 0:00:00", "2026-11-27T17:00"),
        ("monthly 1 03:00", "31 days, 0:00:00", "2026-12-01T03:00"),
        ("every 6h", "6:00:00", "2026-11-20T23:30"),
        ("*/15 * * * *", "0:15:00", "2026-11-20T17:45"),
        ("0 3 * * mon-fri", "3 days, 0:00:00", "2026-11-23T03:00"),
        ("0 3 * * 7", "7 days, 0:00:00", "2026-11-22T03:00"),
        ("0 6,18 * * *", "12:00:00", "2026-11-20T18:00"),
        ("0 3 1 * mon", "7 days, 0:00:00", "2026-11-23T03:00"),
        ("30 2 29 feb *", "1461 days, 0:00:00", "2028-02-29T02:30"),
    ],
)
def test_what_a_schedule_means(text: str, interval: str, following: str) -> None:
    schedule = parse_schedule(text)
    friday = datetime(2026, 11, 20, 17, 30, tzinfo=BERLIN)
    assert str(schedule.interval) == interval
    assert schedule.next_after(friday) == datetime.fromisoformat(following).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    "text",
    [
        *("", "daily 25:00", "daily 3", "weekly 03:00", "weekly xyz 03:00", "monthly 31 03:00"),
        *("sometimes", "every", "every 10s", "61 * * * *", "* * * *", "0 3 31 2 *", "5-1 * * * *"),
        *("*/0 * * * *", "a * * * *"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_schedule(text)


def test_a_start_in_the_hour_skipped_in_spring_happens_and_none_in_autumn_happens_twice() -> None:
    schedule = parse_schedule("daily 02:30")
    spring = schedule.next_after(datetime(2026, 3, 28, 12, tzinfo=BERLIN))
    assert spring is not None
    assert spring.astimezone(UTC) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    autumn = schedule.next_after(datetime(2026, 10, 24, 12, tzinfo=BERLIN))
    assert autumn is not None
    following = schedule.next_after(autumn)
    assert following is not None
    assert following.astimezone(UTC) - autumn.astimezone(UTC) == timedelta(hours=25)


@settings(derandomize=True, max_examples=60)
@given(
    st.sampled_from(["hourly", "daily 02:30", "weekly wed 00:00", "monthly 28 23:59", "7 */5 */3 * *"]),
    st.integers(0, 6 * 365 * 1440),
)
def test_no_two_starts_are_further_apart_than_the_interval(text: str, minutes: int) -> None:
    schedule = parse_schedule(text)
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    for _ in range(5):
        following = schedule.next_after(start)
        assert following is not None
        assert timedelta(0) < following - start <= schedule.interval
        start = following
