# ruff: noqa: RUF001 - the page's words hold dashes
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from status_page import words
from status_page.round import Memory, snapshot
from status_page.states import Observation, uncertain

BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_791_201_780.0  # 5 October 2026, 14:03 in Berlin


@pytest.fixture
def told(plan: Any) -> Callable[..., Any]:
    """A snapshot of services in given states: ``told(mail="down", web="up")``."""

    def make(**states):
        services = {name: {"name": name.capitalize(), "url": "https://example.org/"} for name in states}
        made = plan(services=services)
        seen = {name: Observation(state, NOW - 5) for name, state in states.items() if state != "unknown"}
        return snapshot(made, Memory(observations=seen), NOW)

    return make


@pytest.mark.parametrize(
    ("states", "german", "english"),
    [
        (["up", "up"], "Alle Dienste sind verfügbar", "All services are available"),
        (["down", "up"], "A ist ausgefallen", "A is down"),
        (["down", "down", "up"], "A und B sind ausgefallen", "A and B are down"),
        (
            ["down", "down", "down", "up"],
            "3 von 4 Diensten sind ausgefallen",
            "3 of 4 services are down",
        ),
        (["partial", "up"], "A ist eingeschränkt erreichbar", "A is partly reachable"),
        (["down", "partial", "unknown"], "A ist ausgefallen", "A is down"),
        (
            ["unknown", "up", "up"],
            "2 von 3 Diensten sind verfügbar – zu einem fehlen aktuelle Daten",
            "2 of 3 services are available – no current data for one",
        ),
        (
            ["unknown", "unknown", "up"],
            "1 von 3 Diensten ist verfügbar – zu 2 fehlen aktuelle Daten",
            "1 of 3 services is available – no current data for 2",
        ),
        (["unknown"], "Unbekannt – keine aktuellen Daten", "Unknown – no current data"),
        ([], "Unbekannt – keine aktuellen Daten", "Unknown – no current data"),
    ],
)
def test_the_headline_names_one_or_two_and_counts_more(told, states, german, english):
    page = told(**dict(zip("abcd", states, strict=False)))
    assert words.headline(page, "de") == german
    assert words.headline(page, "en") == english


def test_details_missing_in_the_headline_are_below_it(told):
    page = told(a="down", b="partial", c="unknown")
    assert words.also(page, "de") == ["Außerdem eingeschränkt erreichbar: B.", "Keine aktuellen Daten: C."]


def test_services_counted_in_the_headline_are_named_below_it(told):
    down = told(a="down", b="down", c="down", d="up")
    assert words.also(down, "de") == ["Betroffen: A, B, C."]
    assert words.also(told(a="unknown", b="up"), "en") == ["No current data: A."]
    assert words.also(told(a="unknown", b="unknown"), "en") == []


def test_of_many_names_the_first_and_the_number_of_others_are_shown(told):
    many = told(**{f"s{number}": "down" for number in range(60)})
    assert words.also(many, "en") == ["Affected: S0, S1, S2, S3, S4, S5, S6 and 53 more."]
    assert words.title(many, "de") == "Ausfall: S0, S1 und 58 weitere – Rennteam – Status"


def test_the_title_begins_with_the_state(told):
    assert words.title(told(mail="down"), "de") == "Ausfall: Mail – Rennteam – Status"
    assert words.title(uncertain(told(mail="up"), "stale"), "en") == "State unknown – Racing team – Status"


def test_maintenance_shows_the_live_result_and_hides_no_other_outage(plan):
    work = {
        "services": ["mail"],
        "start": "2026-10-05T13:00:00Z",
        "end": "2026-10-05T13:10:00Z",
        "text": "Work",
    }
    start = NOW - 60
    made = plan(maintenance={"w": work})
    made = replace(made, work=tuple(replace(each, start=start, end=NOW + 60) for each in made.work))
    seen = {"mail": Observation("down", NOW - 5), "website": Observation("up", NOW - 5)}
    page = snapshot(made, Memory(observations=seen), NOW)
    assert words.headline(page, "de") == "Wartung: Mail"
    assert [words.state_words(service.now, "de") for service in page.services] == [
        "Verfügbar",
        "Wartung (derzeit nicht erreichbar)",
    ]
    seen["website"] = Observation("down", NOW - 5)
    assert words.headline(snapshot(made, Memory(observations=seen), NOW), "en") == "Website is down"


def test_times_are_absolute_and_in_the_sites_zone():
    assert words.date_and_clock(NOW, BERLIN, "de") == "5. Oktober 2026, 14:03 Uhr (MESZ)"
    assert words.date_and_clock(NOW, BERLIN, "en") == "5 October 2026, 14:03 (CEST)"
    assert words.date_and_clock(NOW, ZoneInfo("UTC"), "en") == "5 October 2026, 12:03 (UTC)"


@pytest.mark.parametrize(
    ("seconds", "german", "english"),
    [
        (-3, "vor 0 Sekunden", "0 seconds ago"),
        (1, "vor 1 Sekunde", "1 second ago"),
        (60, "vor 1 Minute", "1 minute ago"),
        (720, "vor 12 Minuten", "12 minutes ago"),
        (7_200, "vor 2 Stunden", "2 hours ago"),
        (259_200, "vor 3 Tagen", "3 days ago"),
    ],
)
def test_lengths_of_time_read_well(seconds, german, english):
    assert tuple(words.duration(seconds, language, ago=True) for language in ("de", "en")) == (
        german,
        english,
    )


def test_only_a_whole_hundred_percent_is_written_so():
    assert [words.percent(value, "de") for value in (10_000, 9_999, 9_000, 5)] == [
        "100",
        "99,99",
        "90,00",
        "0,05",
    ]
