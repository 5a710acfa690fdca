"""What the page says of a system that has a past, in both languages, beside the files in ``golden/``.

A file that is missing is written, to be read and committed; the test fails once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from status_page.plan import Plan
from status_page.rendering import Documents, bundle
from status_page.round import Memory, snapshot
from status_page.snapshot import DayRow, Outage
from status_page.states import Observation

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_791_201_780.0  # 5 October 2026, 14:03 in Berlin
HOUR, DAY = 3600, 86_400
TODAY = date(2026, 10, 5)
SHOWN = {"datetime", "d", "href", "title", "aria-label"}


class Words(HTMLParser):
    """The text of a document a line each, with what its attributes say to people and programs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.lines += [f"  {name}={short(text)}" for name, text in attributes if name in SHOWN and text]

    def handle_data(self, data: str) -> None:
        if words := " ".join(data.split()):
            self.lines.append(words)


def short(text: str) -> str:
    """Long paths of bars by their hash."""
    return text if len(text) < 120 else f"{text[:60]}… {sha256(text.encode()).hexdigest()[:12]}"


def words_of(documents: Documents) -> Iterator[str]:
    for path, document in sorted(documents.items()):
        yield f"== {path}"
        text = document.body.decode()
        if path.endswith(".json"):
            yield text
            continue
        reader = Words()
        reader.feed(text)
        yield from (line for line in reader.lines if "/static/" not in line)


@dataclass
class Past:
    """What the collector remembers of some services."""

    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    maintenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    def add(self, name: str, state: Any, age: float, since: float = 0, /, **more: Any) -> dict[str, DayRow]:
        """A service last measured ``age`` seconds ago, in its state for ``since``; its days, to be filled."""
        self.services[name] = {"name": name.title(), "url": f"https://{name}.example.org/", **more}
        self.memory.observations[name] = Observation(state, NOW - age)
        if since:
            self.memory.states[name] = (state, NOW - since)
        return self.memory.days.setdefault(name, {})


def day(back: int, **seconds: int) -> dict[str, DayRow]:
    name = (TODAY - timedelta(days=back)).isoformat()
    return {name: DayRow(name, **(seconds or {"up": DAY}))}


def all_days(first: int = 89, **seconds: int) -> dict[str, DayRow]:
    days: dict[str, DayRow] = {}
    for back in range(first, 0, -1):
        days |= day(back, **seconds)
    return days | day(0, up=14 * HOUR)


def busy() -> Past:
    """Every kind of day, of state and of disturbance; work that runs and work that is announced."""
    past = Past()
    past.memory.locations = 2
    website = past.add("website", "up", 5, 3 * DAY)
    website |= all_days()
    website |= day(80, up=DAY - 61, down=61) | day(60, up=DAY - 601, partial=601)
    website |= day(40, up=DAY - 4 * HOUR, down=3 * HOUR, partial=HOUR) | day(
        30, up=HOUR, maintenance=23 * HOUR
    )
    website |= day(20, unknown=DAY) | day(10, up=HOUR, unknown=23 * HOUR)
    mail = past.add("mail", "down", 20, 2 * HOUR, group="Büro")
    mail |= all_days(69, up=DAY - 1800, unknown=1800) | day(0, up=12 * HOUR, down=2 * HOUR)
    shop = past.add("shop", "partial", 30, DAY + 60, group="Büro")
    shop |= all_days(60) | day(0, up=13 * HOUR, partial=HOUR)
    past.add("wiki", "up", 120, 9 * DAY).update(all_days(40, up=DAY // 4, unknown=DAY - DAY // 4))
    past.add("files", "down", 600).update(all_days(3))
    past.add("forum", "up", 10, HOUR).update(all_days())
    past.services["new"] = {"name": "New", "url": "https://new.example.org/"}
    past.memory.outages += [
        Outage("website", "down", NOW - 40 * DAY, NOW - 40 * DAY + 3 * HOUR),
        Outage("shop", "partial", NOW - DAY - 60, None),
        Outage("mail", "down", NOW - 2 * HOUR, None),
    ]
    text = {"de": "Umzug", "en": "Move"}
    running = {"start": "2026-10-05T13:00+02:00", "end": "2026-10-05T16:30+02:00"}
    over_night = {"start": "2026-10-24T22:00+02:00", "end": "2026-10-25T04:00+01:00"}
    past.maintenance = {
        "now": {"services": ["forum"], "text": text, **running},
        "soon": {"services": ["mail", "shop"], "text": text, **over_night},
    }
    return past


def unreached() -> Past:
    """Two locations are online and no service was measured for ten minutes."""
    past = Past()
    past.memory.locations = 2
    for name in ("website", "mail"):
        past.add(name, "up", 600).update(all_days())
    return past


def quiet() -> Past:
    """All is well, and always was but for one day."""
    past = Past()
    past.memory.locations = 1
    past.add("website", "up", 5, 50 * DAY).update(all_days() | day(50, up=DAY - 90, down=90))
    past.add("mail", "up", 8, 50 * DAY).update(all_days())
    return past


def young() -> Past:
    """Measured for three days, and all was well; one service for a day only."""
    past = Past()
    past.memory.locations = 1
    past.add("website", "up", 5, 3 * DAY).update(all_days(3))
    past.add("mail", "up", 5, DAY).update(all_days(1))
    return past


@pytest.mark.parametrize("variant", ["fresh", "stale", "expired"])
@pytest.mark.parametrize("scene", [busy, unreached, quiet, young])
def test_a_site_with_a_past_is_shown_as_it_was(
    scene: Callable[[], Past], variant: Any, plan: Callable[..., Plan]
) -> None:
    past = scene()
    made = plan(services=past.services, maintenance=past.maintenance)
    found = "\n".join(words_of(bundle(snapshot(made, past.memory, NOW)).variants[variant])) + "\n"
    file = GOLDEN / f"{scene.__name__}.{variant}.txt"
    if not file.exists():
        file.write_text(found)
        pytest.fail(f"{file} was missing and is written: read it")
    assert found == file.read_text()
