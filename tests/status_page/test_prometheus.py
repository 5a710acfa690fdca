import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.patience import patient
from leitstand.prometheus import (
    Prometheus,
    PrometheusError,
    Sample,
    parse_rule_interval,
    parse_rule_label,
    parse_vector,
)
from status_page.measure import allowed, count_locations

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def vector(*samples):
    return json.dumps(
        {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": m, "value": [0, v]} for m, v in samples]},
        }
    ).encode()


def test_values_that_are_not_finite_are_left_out():
    body = vector(({"service": "a"}, "1"), ({"service": "b"}, "NaN"), ({"service": "c"}, "+Inf"))
    assert parse_vector(body) == [Sample({"service": "a"}, 1.0)]


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200, derandomize=True)
def test_any_other_answer_is_an_error_and_never_a_crash(body):
    for parse in (parse_vector, lambda text: parse_rule_interval(text, "x")):
        with pytest.raises(PrometheusError):
            parse(body)


@given(JSON)
@settings(max_examples=200, derandomize=True)
def test_any_result_in_a_right_envelope_is_samples_or_an_error(result):
    for data in ({"resultType": "vector", "result": result}, {"groups": result}):
        body = json.dumps({"status": "success", "data": data}).encode()
        try:
            parse_vector(body)
            parse_rule_interval(body, "x")
        except PrometheusError:
            pass


def test_nesting_beyond_measure_is_an_error():
    with pytest.raises(PrometheusError):
        parse_vector(b"[" * 1_000_000)


def test_only_public_services_pass_and_a_contradiction_is_not_believed():
    samples = [
        Sample({"service": name}, value) for name, value in [("a", 1), ("b", 1), ("b", 0), ("secret", 1)]
    ]
    assert allowed([*samples, Sample({}, 1)], {"a", "b"}) == ({"a": 1}, 4)


def test_address_families_of_one_place_are_one_location():
    assert count_locations([Sample({"vantage": name}, 1) for name in ("a4", "a6", "b4", "4")]) == 3


@pytest.mark.parametrize("status", [400, 404, 500, 302])
def test_another_status_is_an_error(liar, status):
    liar.says(b"{}", status)
    with pytest.raises(PrometheusError, match=str(status)):
        Prometheus(liar.url).vector("up")


def test_a_prometheus_that_hangs_costs_its_time_limit_and_no_more(liar):
    liar.answer = lambda _: liar.released.wait(20)
    begin = time.monotonic()
    with pytest.raises(PrometheusError):
        Prometheus(liar.url, timeout=0.3).vector("up")
    assert time.monotonic() - begin < patient(15)


def test_a_prometheus_that_dribbles_is_cut_off_too(liar):
    def dribble(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(400):
            handler.wfile.write(b"X-%d: y\r\n" % (number % 50))
            handler.wfile.flush()
            if liar.released.wait(0.05):
                return

    liar.answer = dribble
    begin = time.monotonic()
    with pytest.raises(PrometheusError):
        Prometheus(liar.url, timeout=0.3).vector("up")
    assert time.monotonic() - begin < patient(15)


def test_an_endless_answer_is_refused(liar):
    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" " * 1_000_000)

    liar.answer = flood
    with pytest.raises(PrometheusError, match="too large"):
        Prometheus(liar.url, timeout=patient(60)).vector("up")


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([{"name": "a", "labels": {"hash": "12"}}, {"name": "b", "labels": {"hash": "34"}}], "34"),
        ([{"name": "b", "labels": {}}], ""),
        ([], ""),
    ],
)
def test_a_label_of_a_loaded_rule_is_found_or_empty(rules: list[dict[str, object]], found: str) -> None:
    body = json.dumps({"status": "success", "data": {"groups": [{"rules": rules}]}}).encode()
    assert parse_rule_label(body, "b", "hash") == found


@pytest.mark.parametrize("groups", [[{}], [{"rules": [{"name": "b"}]}], [{"rules": [7]}], 7])
def test_a_malformed_list_of_rules_is_an_error(groups: object) -> None:
    body = json.dumps({"status": "success", "data": {"groups": groups}}).encode()
    with pytest.raises(PrometheusError):
        parse_rule_label(body, "b", "hash")
