"""Which form a client gets for its Accept and Accept-Encoding headers."""

import gzip as standard_gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.web.negotiation import (
    METRICS_OFFERS,
    OPENMETRICS,
    OPENMETRICS_0_0_1,
    TEXT,
    choose_metrics,
    gzip,
    wants_gzip,
)

OPEN = "application/openmetrics-text"
PROMETHEUS_2 = f"{OPEN};version=1.0.0,{OPEN};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_3 = (
    f"{OPEN};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPEN};version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "offer"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        ("application/*", OPENMETRICS),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        (OPEN, OPENMETRICS),
        (f"{OPEN}; version=0.0.1", OPENMETRICS_0_0_1),
        (f'{OPEN}; version="1.0.0"; charset=utf-8', OPENMETRICS),
        (f"{OPEN.upper()};Version=1.0.0", OPENMETRICS),
        (f"{OPEN};version=2.0.0,*/*;q=0.1", TEXT),
        (f"{OPEN};version=1.0.0;q=0.3,text/plain;q=0.7", TEXT),
        (f"{OPEN};q=0,*/*", TEXT),
        ("text/plain;q=0,*/*;q=0.1", OPENMETRICS),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("image/png", TEXT),
        ("text/plain;q=wrong, application/openmetrics-text;q=0.1", OPENMETRICS),
        (";;;,,q=1,=", TEXT),
        (OPEN + ",*/*" * 1000, TEXT),  # too long to be looked at
    ],
)
def test_the_form_a_client_gets(accept: str, offer: object) -> None:
    assert choose_metrics(accept) is offer


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from('text/plain*,;q=0.91 version"openmetrics-appl'), max_size=80)
    | st.text(max_size=40)
)
def test_any_header_gets_one_of_the_forms(header: str) -> None:
    assert choose_metrics(header) in METRICS_OFFERS
    assert wants_gzip(header) in (True, False)


WEIGHT = st.integers(0, 1000).map(lambda value: value / 1000)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(WEIGHT, WEIGHT, st.permutations([0, 1]))
def test_the_greater_weight_wins_in_any_position(text: float, openmetrics: float, order: list[int]) -> None:
    ranges = [f"text/plain;version=0.0.4;q={text}", f"{OPEN};version=1.0.0;q={openmetrics}"]
    expected = OPENMETRICS if openmetrics > text else TEXT
    assert choose_metrics(",".join(ranges[index] for index in order)) is expected


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("x-gzip", True),
        ("GZIP", True),
        ("*", True),
        ("identity", False),
        ("deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip" + ", br" * 1000, False),  # too long to be looked at
        ("*;q=0", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1.0", True),
    ],
)
def test_gzip_is_sent_only_on_request(header: str, wanted: bool) -> None:
    assert wants_gzip(header) is wanted


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.binary(max_size=2000))
def test_gzip_is_gzip_and_always_the_same(body: bytes) -> None:
    assert standard_gzip.decompress(gzip(body)) == body
    assert gzip(body) == gzip(body)
