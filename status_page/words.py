"""Sentences, times and numbers for the public."""

# ruff: noqa: RUF001 - the texts use the dash
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_skeleton, format_time, format_timedelta, get_timezone_name
from babel.lists import format_list
from babel.numbers import format_decimal

from status_page.ages import Ages
from status_page.snapshot import Judgement, Language, Measured, PublicSnapshot, ServiceStatus, State
from status_page.states import worst
from status_page.texts import N_, Texts, texts

NAMES_SHOWN = 8  # in one sentence
Unit = Literal["second", "minute", "hour", "day"]
_UNITS: dict[Unit, int] = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_STALE = N_("We cannot check right now.")
_STATES: dict[State, str] = {
    "up": N_("Available"),
    "partial": N_("Partly reachable"),
    "down": N_("Down"),
    "maintenance": N_("Maintenance"),
    "unknown": N_("Unknown – no current data"),
}
_LAST_KNOWN: dict[Measured, str] = {
    "up": N_("Last known: available"),
    "partial": N_("Last known: partly reachable"),
    "down": N_("Last known: down"),
}
_ALSO: dict[State, str] = {
    "partial": N_("Also partly reachable: {names}."),
    "unknown": N_("No current data: {names}."),
    "maintenance": N_("In maintenance: {names}."),
}
_TITLES: dict[State, str] = {
    "up": N_("All services available"),
    "partial": N_("Partly reachable: {names}"),
    "down": N_("Down: {names}"),
    "maintenance": N_("Maintenance: {names}"),
    "unknown": N_("State unknown"),
}


def duration(seconds: float, language: Language, ago: bool = False) -> str:
    """``1 Minute``, ``12 minutes``: a duration in the most readable unit, rounded down.

    With ``ago``, how long ago: ``vor 1 Minute``, ``12 minutes ago``.
    """
    whole = max(0, int(seconds))
    limits: tuple[tuple[Unit, int], ...] = (("second", 60), ("minute", 7200), ("hour", 172_800))
    unit: Unit = next((unit for unit, limit in limits if whole < limit), "day")
    return count(whole // _UNITS[unit], unit, language, ago)


def ages(snapshot: PublicSnapshot) -> Ages:
    """Every age that pages of this snapshot can have until it expires."""
    if snapshot.measured_at is None:
        return {}
    last = int(snapshot.expires_at - snapshot.measured_at)
    steps = (range(60), range(60, 7200, 60), range(7200, 172_800, 3600), range(172_800, last, 86_400))
    return {
        language: [(age, duration(age, language, ago=True)) for step in steps for age in step]
        for language in snapshot.languages
    }


@lru_cache(maxsize=4096)
def count(number: int, unit: Unit, language: Language, ago: bool = False) -> str:
    """A number of units, as `duration` writes them."""
    if ago and not number:
        return texts(language).gettext("0 seconds ago")  # CLDR only has "in 0 seconds"
    seconds = number * _UNITS[unit] * (-1 if ago else 1)
    locale = texts(language).locale
    return format_timedelta(seconds, unit, threshold=float("inf"), add_direction=ago, locale=locale)


def minutes(seconds: int, language: Language) -> str:
    """Whole minutes, rounded up: a disturbance of seconds is not zero."""
    return count(-(-seconds // 60), "minute", language)


def clock(at: float, zone: ZoneInfo, language: Language) -> str:
    """``14:03 Uhr``, ``14:03``."""
    say = texts(language)
    time = format_time(datetime.fromtimestamp(at, zone), "short", locale=say.locale)
    return say.gettext("{time}").format(time=time)


@lru_cache(maxsize=4096)
def day(at: float, zone: ZoneInfo, language: Language, year: bool = True) -> str:
    """``5. Oktober 2026``, ``5 October 2026``; the year is optional."""
    local, locale = datetime.fromtimestamp(at, zone), texts(language).locale
    return format_date(local, "long", locale) if year else format_skeleton("MMMMd", local, locale=locale)


def clock_and_zone(at: float, zone: ZoneInfo, language: Language) -> str:
    """``14:03 Uhr (MESZ)``, ``14:03 (CEST)``."""
    local = datetime.fromtimestamp(at, zone)
    name = get_timezone_name(local, "short", locale=texts(language).locale)
    # Where the language has no short name, Babel gives an offset or a long one.
    return f"{clock(at, zone, language)} ({name if name.isalpha() else local.tzname()})"


def date_and_clock(at: float, zone: ZoneInfo, language: Language) -> str:
    """``5. Oktober 2026, 14:03 Uhr (MESZ)``, ``5 October 2026, 14:03 (CEST)``."""
    return f"{day(at, zone, language)}, {clock_and_zone(at, zone, language)}"


def iso(at: float, zone: ZoneInfo) -> str:
    """A time for machines: RFC 3339 with the site's offset, whole seconds."""
    return datetime.fromtimestamp(int(at), zone).isoformat()


def percent(hundredths: int, language: Language) -> str:
    """9995 as ``99,95``; 10000 as ``100``: only an exact 100 has no decimals."""
    pattern = "0" if hundredths == 10_000 else "0.00"
    return format_decimal(Decimal(hundredths) / 100, pattern, texts(language).locale)


def state_words(now: Judgement, language: Language) -> str:
    say = texts(language)
    if now.state != "maintenance" or now.live == "unknown":
        return say.gettext(_STATES[now.state])
    if now.live == "down":
        return say.gettext("Maintenance (currently not reachable)")
    return say.gettext("Maintenance (currently reachable)")


def state_name(state: State, language: Language) -> str:
    return texts(language).gettext(_STATES[state])


def last_known(state: Measured, language: Language) -> str:
    return texts(language).gettext(_LAST_KNOWN[state])


def names(services: list[ServiceStatus], language: Language, most: int = NAMES_SHOWN) -> str:
    """Names as a list, ``A, B``; of more than ``most`` the first ones and the number of the others."""
    named = services if len(services) <= most else services[: most - 1]
    row = ", ".join(service.name[language] for service in named)
    left = len(services) - len(named)
    return row + (texts(language).gettext(" and {n} more").format(n=left) if left else "")


def in_state(snapshot: PublicSnapshot, state: State) -> list[ServiceStatus]:
    return [service for service in snapshot.services if service.now.state == state]


def headline(snapshot: PublicSnapshot, language: Language) -> str:
    """The main sentence: names the affected services if they are one or two, else counts them."""
    say, state = texts(language), worst(snapshot.services)
    if not snapshot.certain:
        return say.gettext(_STALE)
    if state == "up":
        return say.gettext("All services are available")
    if state == "unknown":
        return _some_unknown(snapshot, language)
    affected = [service.name[language] for service in in_state(snapshot, state)]
    named, counted = _affected(state, len(affected), say)
    if len(affected) <= 2:
        return named.format(names=format_list(affected, locale=say.locale))
    return counted.format(n=len(affected), total=len(snapshot.services))


def _affected(state: State, n: int, say: Texts) -> tuple[str, str]:
    """The headlines for ``n`` services in a bad state: with their names, and with their number."""
    if state == "down":
        return (
            say.ngettext("{names} is down", "{names} are down", n),
            say.ngettext("{n} of {total} services is down", "{n} of {total} services are down", n),
        )
    if state == "partial":
        return (
            say.ngettext("{names} is partly reachable", "{names} are partly reachable", n),
            say.ngettext(
                "{n} of {total} services is partly reachable",
                "{n} of {total} services are partly reachable",
                n,
            ),
        )
    return say.gettext("Maintenance: {names}"), say.gettext("Maintenance of {n} of {total} services")


def _some_unknown(snapshot: PublicSnapshot, language: Language) -> str:
    say, total = texts(language), len(snapshot.services)
    lost, up = len(in_state(snapshot, "unknown")), len(in_state(snapshot, "up"))
    if lost == total:
        # After a first measurement we cannot check; before it there is just no data.
        known = any(service.now.last_known for service in snapshot.services)
        return say.gettext(_STALE if known else _STATES["unknown"])
    available = say.ngettext(
        "{up} of {total} services is available", "{up} of {total} services are available", up
    )
    without = say.ngettext("no current data for one", "no current data for {n}", lost)
    return f"{available} – {without}".format(up=up, total=total, n=lost)


def also(snapshot: PublicSnapshot, language: Language) -> list[str]:
    """The details that the headline omits: the names of services it counts, and those in less bad states."""
    if not snapshot.certain:
        return []
    main, say = worst(snapshot.services), texts(language)
    sentences = []
    if main in ("down", "partial", "maintenance") and len(counted := in_state(snapshot, main)) > 2:
        sentences.append(say.gettext("Affected: {names}.").format(names=names(counted, language)))
    for state, text in _ALSO.items():
        # A headline about unknown services counts them without names, unless all are unknown.
        shown = state == main and (
            state != "unknown" or len(in_state(snapshot, state)) == len(snapshot.services)
        )
        if not shown and (found := in_state(snapshot, state)):
            sentences.append(say.gettext(text).format(names=names(found, language)))
    return sentences


def title(snapshot: PublicSnapshot, language: Language) -> str:
    say, state = texts(language), worst(snapshot.services) if snapshot.certain else "unknown"
    beginning = say.gettext(_TITLES[state]).format(names=names(in_state(snapshot, state), language, most=3))
    return f"{beginning} – {site_status(snapshot.site[language], language)}"


def site_status(site: str, language: Language) -> str:
    return texts(language).gettext("{site} – Status").format(site=site)
