"""Which snapshots stay by the rules alone: times and rules in, a decision out."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.settings import Keep
from orchestrator.retention.rules import Candidate, decide

Site = Any
UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 11, 20, 3, tzinfo=UTC)


def keep(**rules: object) -> Keep:
    return Keep.model_validate(rules)


def daily(count: int, step: timedelta = timedelta(days=1)) -> list[Candidate]:
    """Good snapshots, the newest first: 0, 1, 2 …"""
    return [Candidate(f"{number}", START - number * step, True) for number in range(count)]


def staying(candidates: list[Candidate], rules: Keep, zone: ZoneInfo = UTC_ZONE) -> list[str]:
    return [each.candidate.id for each in decide(candidates, rules, zone) if each.stays]


def test_without_rules_everything_stays() -> None:
    assert len(staying(daily(50), keep())) == 50


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"last": 3}, [0, 1, 2]),
        ({"daily": 2}, [0, 1]),
        ({"weekly": 3}, [0, 5, 12]),  # 20 November 2026 is a Friday: Sundays end the weeks before
        ({"monthly": 3}, [0, 20, 51]),
        ({"yearly": 2}, [0, 324]),
        ({"within": "3d"}, [0, 1, 2, 3]),
        ({"last": 1, "min": 4}, [0, 1, 2, 3]),
        ({"daily": 2, "weekly": 2, "monthly": 2}, [0, 1, 5, 20]),
    ],
)
def test_rules_keep_the_newest_of_each_period(rules: dict[str, object], expected: list[int]) -> None:
    assert staying(daily(400), keep(**rules)) == [str(number) for number in expected]


@pytest.mark.parametrize(
    ("rules", "step", "expected"),
    [
        ({"daily": 2}, timedelta(hours=1), [0, 4]),  # the first is of 03:00: four of its day, then 23:00
        ({"weekly": 3}, timedelta(weeks=52), [0, 1, 2]),
        ({"monthly": 3}, timedelta(days=365), [0, 1, 2]),
    ],
)
def test_the_newest_of_a_period_stays_and_the_same_one_of_another_year_is_another(
    rules: dict[str, object], step: timedelta, expected: list[int]
) -> None:
    assert staying(daily(30, step), keep(**rules)) == [str(number) for number in expected]


@pytest.mark.parametrize(
    ("entries", "content_bytes", "held"),
    [(200, 2000, False), (201, 10, True), (10, 2001, True), (201, 2001, True), (10, 10, False)],
)
@pytest.mark.parametrize("good", [True, False])
def test_a_snapshot_more_than_twice_as_large_as_the_newest_is_held_with_all_it_needs(
    entries: int, content_bytes: int, held: bool, good: bool
) -> None:
    newest = Candidate("newest", START, good, (), 100, 1000)
    large = Candidate("large", START - timedelta(days=1), False, ("base",), entries, content_bytes)
    base = Candidate("base", START - timedelta(days=2), False, (), 0, 0)
    found = {each.candidate.id: each for each in decide([newest, large, base], keep(last=1), UTC_ZONE)}
    assert found["large"].held == (newest if held else None)
    assert found["base"].reasons == (["holds files of large"] if held else [])


def test_a_snapshot_that_stays_is_not_held() -> None:
    sizes = [Candidate(str(n), START - timedelta(days=n), True, (), 10**n, 10**n) for n in range(3)]
    assert [each.held for each in decide(sizes, keep(last=3), UTC_ZONE)] == [None] * 3


def test_hours_are_kept_apart_when_clocks_go_back() -> None:
    moments = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]
    candidates = [Candidate(str(number), moment, True) for number, moment in enumerate(moments)]
    assert len(staying(candidates, keep(hourly=5), BERLIN)) == 2


def test_days_begin_at_midnight_of_the_site() -> None:
    late, early = datetime(2026, 11, 20, 22, 30, tzinfo=UTC), datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    candidates = [Candidate("late", late, True), Candidate("early", early, True)]
    assert len(staying(candidates, keep(daily=9), UTC_ZONE)) == 1
    assert len(staying(candidates, keep(daily=9), BERLIN)) == 2


def test_the_newest_good_one_stays_in_any_case() -> None:
    partial = [Candidate(f"partial-{n}", START + timedelta(hours=n + 1), False) for n in range(30)]
    assert "0" in staying([*daily(3), *partial], keep(last=2))


def test_a_good_snapshot_represents_its_day_rather_than_a_later_partial_one() -> None:
    candidates = [Candidate("good", START, True), Candidate("partial", START + timedelta(hours=2), False)]
    assert staying(candidates, keep(daily=1)) == ["good"]


def test_an_archive_with_files_of_a_kept_snapshot_is_kept() -> None:
    full, step = (
        Candidate("full", START - timedelta(days=9), True),
        Candidate("step", START, True, ("full", "step")),
    )
    decisions = {each.candidate.id: each.reasons for each in decide([full, step], keep(last=1), UTC_ZONE)}
    assert decisions["full"] == ["holds files of step"]


_RULES = st.fixed_dictionaries(
    {name: st.integers(0, 4) for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
)


@settings(derandomize=True, max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 500_000), st.booleans()), min_size=1, max_size=30, unique_by=lambda t: t[0]
    ),
    _RULES,
    st.integers(1, 3),
)
def test_pruning_again_deletes_nothing_more(
    runs: list[tuple[int, bool]], rules: dict[str, int], minimum: int
) -> None:
    candidates = [Candidate(str(n), START + timedelta(minutes=n), good) for n, good in runs]
    stay = staying(candidates, keep(**rules, min=minimum), BERLIN)
    good = sorted((each for each in candidates if each.complete), key=lambda each: each.time, reverse=True)
    assert {each.id for each in good[:minimum]} <= set(stay)
    again = staying([each for each in candidates if each.id in stay], keep(**rules, min=minimum), BERLIN)
    assert set(again) == set(stay)


@given(sizes=st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.integers(0, 100)), max_size=12))
@settings(max_examples=100, derandomize=True)
def test_deleted_snapshots_are_never_much_larger_than_the_newest_good_one(
    sizes: list[tuple[bool, int, int]],
) -> None:
    candidates = [
        Candidate(str(n), START - timedelta(days=n), good, (), entries, size)
        for n, (good, entries, size) in enumerate(sizes)
    ]
    decisions = decide(candidates, keep(last=1), UTC_ZONE)
    newest = next((each for each in candidates if each.complete), None) or (candidates or [None])[0]
    for gone in (each.candidate for each in decisions if not each.stays and not each.held):
        assert gone.entries <= 2 * newest.entries
        assert gone.content_bytes <= 2 * newest.content_bytes
