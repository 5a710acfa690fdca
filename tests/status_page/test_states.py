import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from status_page.snapshot import Judgement, ServiceStatus
from status_page.states import Limits, Observation, judge, observe, stale_at, worst

NOW = 1_800_000_000.0
LIMITS = Limits()
AGES = st.floats(min_value=0, max_value=200_000)
STATES = st.sampled_from(["up", "partial", "down"])


def status(state, measured_at=None, live=None):
    judgement = Judgement(state, live or state, None, measured_at)
    return ServiceStatus("a", {"de": "a", "en": "a"}, None, judgement)


@pytest.mark.parametrize(
    ("age", "state", "last_known", "held"),
    [
        (0, "up", "up", False),
        (60, "up", "up", False),
        (61, "up", "up", True),
        (180, "up", "up", True),
        (181, "unknown", "up", False),
        (86_400, "unknown", "up", False),
        (86_401, "unknown", None, False),
    ],
)
def test_a_state_is_shown_then_held_then_unknown_then_forgotten(age, state, last_known, held):
    told = judge(Observation("up", NOW - age), NOW, LIMITS)
    assert (told.state, told.last_known, told.held) == (state, last_known, held)


def test_services_never_measured_are_unknown():
    assert judge(None, NOW, LIMITS) == Judgement("unknown")


@pytest.mark.parametrize("verdict", [None, 0.3, 2.0, -1.0, math.nan, math.inf])
def test_an_invalid_verdict_is_ignored(verdict):
    assert observe(None, verdict, 1.0, NOW) is None


@pytest.mark.parametrize("age", [None, math.nan, math.inf])
def test_a_verdict_without_an_age_is_ignored(age):
    before = Observation("down", NOW - 100)
    assert observe(before, 1.0, age, NOW) is before
    assert observe(None, 1.0, age, NOW) is None


def test_an_age_below_zero_is_not_a_measurement_of_the_future():
    assert observe(None, 1.0, -30.0, NOW) == Observation("up", NOW)


def test_an_older_sample_does_not_replace_a_newer_observation():
    newer = Observation("down", NOW - 5)
    assert observe(newer, 1.0, 40.0, NOW) is newer


def test_a_clock_that_was_set_back_does_not_keep_a_state_alive():
    assert judge(Observation("up", NOW + 3600), NOW, LIMITS).state == "unknown"
    assert observe(Observation("up", NOW + 3600), 0.0, 1.0, NOW) == Observation("down", NOW - 1)


@given(STATES, AGES, st.booleans())
@settings(max_examples=200, derandomize=True)
def test_nothing_old_is_shown_as_current(state, age, in_maintenance):
    told = judge(Observation(state, NOW - age), NOW, LIMITS, in_maintenance)
    if age > LIMITS.unknown + 1:
        assert told.live == "unknown"
        assert told.state in ("unknown", "maintenance")
    if told.state in ("up", "partial", "down"):
        assert told.state == state


@given(st.lists(st.sampled_from(["up", "partial", "down", "maintenance", "unknown"])))
@settings(max_examples=200, derandomize=True)
def test_the_headline_is_green_only_when_every_service_is(states):
    found = worst([status(state) for state in states])
    assert (found == "up") == (bool(states) and set(states) == {"up"})
    if "down" in states:
        assert found == "down"


def test_no_services_is_unknown():
    assert worst([]) == "unknown"


@given(st.lists(st.tuples(STATES, st.floats(min_value=0, max_value=180)), min_size=1, max_size=5))
@settings(max_examples=200, derandomize=True)
def test_a_page_without_a_successor_is_stale_before_its_states_are_unknown(observations):
    services = [status(state, NOW - age) for state, age in observations]
    limit = stale_at(services, NOW, LIMITS, interval=15)
    assert NOW < limit <= NOW + LIMITS.fresh
    oldest = max(age for _, age in observations)
    assert oldest + limit - NOW <= LIMITS.unknown + 2 * 15 + 1e-6
