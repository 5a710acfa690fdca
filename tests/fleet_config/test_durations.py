"""Durations in Prometheus' notation, alone and in PromQL."""

from datetime import timedelta

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_config.durations import format_duration, parse, scale, scale_expression


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("1h30m", 5400),
        ("1500ms", 1.5),
        ("2d", 172800),
        ("1w", 604800),
        ("1y", 31536000),
        ("0", 0),
    ],
)
def test_durations_are_read_as_prometheus_reads_them(text, seconds):
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "15", "s", "1.5s", "15 s", "1h 30m", "-5m"])
def test_durations_that_prometheus_rejects_are_rejected(text):
    with pytest.raises(ValueError, match="not a Prometheus duration"):
        parse(text)


@given(st.integers(0, 10**9))
@settings(max_examples=100, derandomize=True)
def test_a_written_duration_is_read_as_the_same(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse(format_duration(duration)) == duration


def test_a_factor_of_one_leaves_the_notation_as_it_is():
    assert scale("1h30m", 1) == "1h30m"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(a[5m])", "rate(a[60s])"),
        ("max_over_time(a[1h:15s])", "max_over_time(a[720s:3s])"),
        ("max_over_time(a[1h:])", "max_over_time(a[720s:])"),
        ("a[90s] offset 5m", "a[18s] offset 60s"),
        ("a offset -5m", "a offset -60s"),
        ("time() - a > 2 * b + 3600", "time() - a > 2 * b + 3600"),
        ("instance:a:rate5m > 0.5", "instance:a:rate5m > 0.5"),
        ('a{path="x[5m]"}', 'a{path="x[5m]"}'),
        (r'a{path="x\"[5m]"}[5m]', r'a{path="x\"[5m]"}[60s]'),
        ("a{path='x[5m]', y=`[5m]`}[1m]", "a{path='x[5m]', y=`[5m]`}[12s]"),
        ("a[5m] # over [5m]\n + b[1s]", "a[60s] # over [5m]\n + b[200ms]"),
        ('label_replace(a, "b", "$1", "c", "([0-9]+)m")', 'label_replace(a, "b", "$1", "c", "([0-9]+)m")'),
    ],
)
def test_ranges_steps_and_offsets_shrink_and_nothing_else_does(expression, expected):
    assert scale_expression(expression, 1 / 5) == expected


@given(st.integers(1, 10**6), st.integers(1, 60))
@settings(max_examples=50, derandomize=True)
def test_scaled_rules_are_still_promql(milliseconds, factor):
    expression = f"sum by (a) (rate(b{{c=~'x|[y]'}}[{milliseconds}ms] offset {milliseconds}ms))"
    promql_parser.parse(scale_expression(expression, factor))
