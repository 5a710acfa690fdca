from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from status_page.days import Totals, bounds, day_row, disturbance, level, merged, uptime, window
from status_page.measure import split
from status_page.snapshot import DayRow

BERLIN = ZoneInfo("Europe/Berlin")
SECONDS = st.integers(min_value=0, max_value=86_400)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 7, 1), 24), (date(2026, 10, 25), 25)]
)
def test_a_day_is_as_long_as_its_clocks_make_it(day, hours):
    begin, end = bounds(day, BERLIN)
    assert (end - begin) / 3600 == hours
    full = day_row(day, end - begin, Totals(up=end - begin))
    assert (full.up, full.unknown) == (hours * 3600, 0)
    assert uptime([full]).percent == 10_000


def test_days_of_a_window_follow_each_other_over_a_change_of_clocks():
    days = window(date(2026, 10, 30), 10)
    edges = [bounds(day, BERLIN) for day in days]
    assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert (days[0], days[-1]) == (date(2026, 10, 21), date(2026, 10, 30))


@pytest.mark.parametrize(
    ("row", "percent"),
    [
        (DayRow("d", up=86_400), 10_000),
        (DayRow("d", up=86_399, down=1), 9_999),
        (DayRow("d", up=86_399, partial=1), 9_999),
        (DayRow("d", up=43_200, down=43_200), 5_000),
        (DayRow("d", up=43_200, partial=43_200), 7_500),
        (DayRow("d", up=50_000, maintenance=36_400), 10_000),
        (DayRow("d", up=43_200, unknown=43_200), 10_000),
        (DayRow("d", up=43_199, unknown=43_201), None),
        (DayRow("d", maintenance=86_400), None),
        (DayRow("d"), None),
    ],
)
def test_availability_counts_partly_half_rounds_down_and_needs_half_the_time_measured(row, percent):
    assert uptime([row]).percent == percent


def test_seconds_of_disturbance_count_partly_half_rounded_up_and_nothing_else():
    disturbed = DayRow("d", up=1_000, partial=301, down=60, maintenance=500, unknown=700)
    figures = uptime([disturbed, DayRow("e", up=86_400)])
    assert (disturbance(disturbed), figures.disturbed, figures.disturbed_days) == (211, 211, 1)
    assert disturbance(DayRow("d", partial=300)) == 150


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS), max_size=90))
@settings(max_examples=150, derandomize=True)
def test_a_hundred_percent_means_no_disturbance_at_all(rows):
    days = [DayRow("d", up=u, partial=p, down=d, unknown=n) for u, p, d, n in rows]
    figures = uptime(days)
    if figures.percent is not None:
        assert (figures.percent == 10_000) == (sum(disturbance(day) for day in days) == 0)
    assert 0 <= figures.coverage <= 1


@given(
    st.floats(min_value=0, max_value=100_000),
    st.floats(min_value=0, max_value=100_000),
    st.floats(min_value=0, max_value=100_000),
    st.floats(min_value=0, max_value=90_000),
    st.floats(min_value=0, max_value=90_000),
)
@settings(max_examples=200, derandomize=True)
def test_a_row_never_holds_more_seconds_than_are_over(up, partial, down, elapsed, maintenance):
    row = day_row(date(2026, 7, 1), elapsed, Totals(up, partial, down), min(maintenance, elapsed))
    values = (row.up, row.partial, row.down, row.maintenance, row.unknown)
    assert min(values) >= 0
    assert sum(values) <= elapsed + 1


def test_an_outage_of_last_week_does_not_grow_when_services_are_probed_less_often():
    # The samples of that day were 15 s apart and are counted as if they had been 30 s apart.
    row = day_row(date(2026, 7, 1), 86_400, Totals(up=2 * 82_000, partial=2 * 800, down=2 * 3_600))
    assert (row.up, row.partial, row.down, row.unknown) == (82_000, 800, 3_600, 0)


def test_the_time_before_a_service_existed_is_not_unknown():
    row = day_row(date(2026, 7, 1), 86_400, Totals(up=3_600), unseen=80_000)
    assert (row.up, row.unknown) == (3_600, 2_800)
    # Prometheus may have measured before the collector first looked.
    assert day_row(date(2026, 7, 1), 86_400, Totals(up=80_000), unseen=86_400).up == 80_000


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (DayRow("d"), "none"),
        (DayRow("d", up=86_400), "up"),
        (DayRow("d", up=86_399, down=1), "minor"),
        (DayRow("d", up=86_100, down=300), "minor"),
        (DayRow("d", up=86_099, down=301), "partial"),
        (DayRow("d", up=82_800, down=3_600), "partial"),
        (DayRow("d", up=82_799, down=3_601), "down"),
        (DayRow("d", up=30_000, unknown=56_400), "none"),
        (DayRow("d", down=4_000, unknown=82_400), "down"),
        (DayRow("d", maintenance=86_400), "maintenance"),
        (DayRow("d", up=43_200, maintenance=43_200), "maintenance"),
        (DayRow("d", up=43_201, maintenance=43_199), "up"),
        (DayRow("d", up=30_000, unknown=13_200, maintenance=43_200), "maintenance"),
        (DayRow("d", up=13_201, unknown=30_000, maintenance=43_199), "none"),
        (DayRow("d", up=43_200, unknown=43_200), "up"),
        (DayRow("d", up=43_199, unknown=43_201), "none"),
        (DayRow("d", up=86_399, partial=1), "minor"),
        (DayRow("d", maintenance=86_399, down=1), "minor"),
    ],
)
def test_a_bar_is_coloured_by_minutes_and_hollow_without_data(row, kind):
    assert level(row) == kind


def test_spans_are_cut_to_the_day_and_joined():
    assert merged([(5, 9), (8, 12), (20, 25), (90, 99)], (6, 22)) == [(6, 12), (20, 22)]
    assert merged([(30, 40), (1, 2), (10, 20), (15, 30), (11, 12)], (0, 99)) == [(1, 2), (10, 40)]


def test_sums_of_samples_give_the_seconds_of_each_state():
    # 10 samples of 15 s: 6 up, 2 partly, 2 down.
    assert split(10, 7.0, 8.0, 15) == Totals(90, 30, 30)
