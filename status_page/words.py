"""Sentences, times and figures as the public reads them, in German and English."""

from datetime import datetime
from zoneinfo import ZoneInfo

from status_page.snapshot import Judgement, Language, PublicSnapshot, ServiceStatus, State
from status_page.states import worst
from status_page.texts import TEXTS

_MONTHS: dict[Language, tuple[str, ...]] = {
    "de": (
        "Januar", "Februar", "März", "April", "Mai", "Juni",
        "Juli", "August", "September", "Oktober", "November", "Dezember",
    ),
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
}  # fmt: skip
NAMES_TOLD = 8  # in one sentence
_GERMAN_ZONES = {"CET": "MEZ", "CEST": "MESZ"}
# (singular, plural) as they stand after "vor" and before "ago".
_UNITS: dict[Language, dict[str, tuple[str, str]]] = {
    "de": {
        "second": ("Sekunde", "Sekunden"),
        "minute": ("Minute", "Minuten"),
        "hour": ("Stunde", "Stunden"),
        "day": ("Tag", "Tagen"),
    },
    "en": {
        "second": ("second", "seconds"),
        "minute": ("minute", "minutes"),
        "hour": ("hour", "hours"),
        "day": ("day", "days"),
    },
}


def count(number: int, unit: str, language: Language) -> str:
    """``1 Minute``, ``12 minutes``."""
    singular, plural = _UNITS[language][unit]
    return f"{number} {singular if number == 1 else plural}"


def duration(seconds: float, language: Language) -> str:
    """A length of time in the unit that reads best: whole seconds, minutes, hours or days, rounded down."""
    whole = max(0, int(seconds))
    for unit, size, below in (("second", 1, 60), ("minute", 60, 7200), ("hour", 3600, 172_800)):
        if whole < below:
            return count(whole // size, unit, language)
    return count(whole // 86_400, "day", language)


def ago(seconds: float, language: Language) -> str:
    """``vor 12 Minuten``, ``12 minutes ago``."""
    length = duration(seconds, language)
    return f"vor {length}" if language == "de" else f"{length} ago"


def minutes(seconds: int, language: Language) -> str:
    """Whole minutes, rounded up: a disturbance of seconds is not none."""
    return count(-(-seconds // 60), "minute", language)


def clock(at: float, zone: ZoneInfo, language: Language) -> str:
    """``14:03 Uhr``, ``14:03``."""
    text = f"{datetime.fromtimestamp(at, zone):%H:%M}"
    return f"{text} Uhr" if language == "de" else text


def day(at: float, zone: ZoneInfo, language: Language, year: bool = True) -> str:
    """``5. Oktober 2026``, ``5 October 2026``; without the year if not asked for."""
    local = datetime.fromtimestamp(at, zone)
    month = _MONTHS[language][local.month - 1]
    date = f"{local.day}. {month}" if language == "de" else f"{local.day} {month}"
    return f"{date} {local.year}" if year else date


def clock_and_zone(at: float, zone: ZoneInfo, language: Language) -> str:
    """``14:03 Uhr (MESZ)``, ``14:03 (CEST)``."""
    name = datetime.fromtimestamp(at, zone).tzname() or "UTC"
    return f"{clock(at, zone, language)} ({_GERMAN_ZONES.get(name, name) if language == 'de' else name})"


def date_and_clock(at: float, zone: ZoneInfo, language: Language) -> str:
    """``5. Oktober 2026, 14:03 Uhr (MESZ)``, ``5 October 2026, 14:03 (CEST)``."""
    return f"{day(at, zone, language)}, {clock_and_zone(at, zone, language)}"


def percent(hundredths: int, language: Language) -> str:
    """9995 as ``99,95``; 10000 as ``100``: only what is whole is written so."""
    text = (
        f"{hundredths // 100}.{hundredths % 100:02d}".removesuffix(".00")
        if hundredths == 10_000
        else (f"{hundredths // 100}.{hundredths % 100:02d}")
    )
    return text.replace(".", ",") if language == "de" else text


def state_words(now: Judgement, language: Language) -> str:
    """The state of one service in words."""
    text = TEXTS[language]
    if now.state != "maintenance" or now.live == "unknown":
        return text[now.state]
    return text["maintenance_down" if now.live == "down" else "maintenance_up"]


def names(services: list[ServiceStatus], language: Language, most: int = NAMES_TOLD) -> str:
    """Names in a row, ``A, B``; of more than ``most`` the first ones and how many are left."""
    told = services if len(services) <= most else services[: most - 1]
    row = ", ".join(service.name.in_language(language) for service in told)
    left = len(services) - len(told)
    return row + (TEXTS[language]["and_more"].format(n=left) if left else "")


def in_state(snapshot: PublicSnapshot, state: State) -> list[ServiceStatus]:
    """The services in one state."""
    return [service for service in snapshot.services if service.now.state == state]


def headline(snapshot: PublicSnapshot, language: Language) -> str:
    """The one sentence: names the culprits when they are one or two, counts them otherwise."""
    text, state = TEXTS[language], worst(snapshot.services)
    if not snapshot.certain:
        return text["stale"]
    affected = in_state(snapshot, state)
    if state == "up":
        return text["all_up"]
    if state == "unknown":
        return _some_unknown(snapshot, language)
    a, b = ([service.name.in_language(language) for service in affected] + ["", ""])[:2]
    kind = {1: "one", 2: "two"}.get(len(affected), "many")
    return text[f"{kind}_{state}"].format(a=a, b=b, n=len(affected), total=len(snapshot.services))


def _some_unknown(snapshot: PublicSnapshot, language: Language) -> str:
    text, total = TEXTS[language], len(snapshot.services)
    lost, up = len(in_state(snapshot, "unknown")), len(in_state(snapshot, "up"))
    if lost == total:
        # Once there was a measurement it is us who cannot look; before that there is just nothing to tell.
        return (
            text["stale"] if any(service.now.last_known for service in snapshot.services) else text["unknown"]
        )
    key = "some_unknown_one" if lost == 1 else "some_unknown"
    return text[key].format(up=up, total=total, n=lost, is_are=text["is" if up == 1 else "are"])


def also(snapshot: PublicSnapshot, language: Language) -> list[str]:
    """What the headline leaves out: the names of those it counts, and what is less bad."""
    if not snapshot.certain:
        return []
    main, text = worst(snapshot.services), TEXTS[language]
    sentences = []
    if main in ("down", "partial", "maintenance") and len(counted := in_state(snapshot, main)) > 2:
        sentences.append(text["affected"].format(names=names(counted, language)))
    elif main == "unknown" and 0 < len(lost := in_state(snapshot, main)) < len(snapshot.services):
        sentences.append(text["also_unknown"].format(names=names(lost, language)))
    for state in ("partial", "unknown", "maintenance"):
        if state != main and (found := in_state(snapshot, state)):
            sentences.append(text[f"also_{state}"].format(names=names(found, language)))
    return sentences


def title(snapshot: PublicSnapshot, language: Language) -> str:
    """The page's title: begins with the state."""
    text, state = TEXTS[language], worst(snapshot.services)
    if not snapshot.certain:
        state = "unknown"
    beginning = text[f"title_{state}"].format(names=names(in_state(snapshot, state), language, most=3))
    return f"{beginning} \u2013 {text['site_status'].format(site=snapshot.site.in_language(language))}"
