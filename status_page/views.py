"""The data of the templates, which decide nothing. Built from the PublicSnapshot alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from status_page import ages, days, words
from status_page.days import Level, Uptime, bounds, disturbance, level, uptime
from status_page.snapshot import DayRow, Language, Outage, PublicSnapshot, ServiceStatus, State
from status_page.states import worst
from status_page.texts import texts
from status_page.words import iso

_TOP, _BOTTOM = 0, 32
_HEIGHTS: dict[Level, int] = {"up": 19, "minor": 22, "partial": 26, "down": 32, "maintenance": 19, "none": 19}


@dataclass(frozen=True, slots=True)
class Moment:
    """A time for people and for machines."""

    text: str
    iso: str


@dataclass(frozen=True, slots=True)
class DayView:
    """A line in the table of days with disturbances."""

    date: Moment
    down: str
    partial: str


@dataclass(frozen=True, slots=True)
class ServiceView:
    id: str
    name: str
    state: State
    words: str
    note: str
    bars: tuple[tuple[Level, str], ...]
    bar_text: str
    share: str
    coverage: str
    days: tuple[DayView, ...]


@dataclass(frozen=True, slots=True)
class WorkView:
    """One maintenance."""

    text: str
    services: str
    stage: str
    start: Moment
    end: Moment


@dataclass(frozen=True, slots=True)
class OutageView:
    id: str
    service: str
    state: State
    words: str
    start: Moment
    length: str
    updated: str


@dataclass(frozen=True, slots=True)
class PageView:
    language: Language
    languages: tuple[Language, ...]
    site: str
    feed_title: str
    url: str
    title: str
    state: State
    headline: str
    also: tuple[str, ...]
    last_state: str
    time_line: Moment | None
    measured: str
    groups: tuple[tuple[str, tuple[ServiceView, ...]], ...]
    work: tuple[WorkView, ...]
    outages: tuple[OutageView, ...]
    no_outages: str
    updated: str


def page_view(snapshot: PublicSnapshot, language: Language) -> PageView:
    say, zone, at = texts(language), ZoneInfo(snapshot.time_zone), snapshot.measured_at
    return PageView(
        language=language,
        languages=snapshot.languages,
        site=snapshot.site[language],
        feed_title=words.site_status(snapshot.site[language], language),
        url=snapshot.url,
        title=words.title(snapshot, language),
        state=worst(snapshot.services) if snapshot.certain else "unknown",
        headline=words.headline(snapshot, language),
        also=tuple(words.also(snapshot, language)),
        last_state=_last_state(snapshot, zone, language),
        time_line=None if at is None else Moment(words.date_and_clock(at, zone, language), iso(at, zone)),
        measured=_measured(snapshot, language),
        groups=_groups(snapshot, zone, language),
        work=tuple(_works(snapshot, zone, language)),
        outages=tuple(_outages(snapshot, zone, language)),
        no_outages=(
            say.gettext("No disturbance was measured in the last 90 days.")
            if _ever_measured(snapshot)
            else say.gettext("There is no measurement yet")
        ),
        updated=iso(snapshot.written_at, zone),
    )


def _ever_measured(snapshot: PublicSnapshot) -> bool:
    """Only say that there was no disturbance if there were measurements."""
    return any(row.known for service in snapshot.services for row in service.days)


def _last_state(snapshot: PublicSnapshot, zone: ZoneInfo, language: Language) -> str:
    at, known = snapshot.measured_at, any(service.now.last_known for service in snapshot.services)
    if at is None or not known or any(service.now.live != "unknown" for service in snapshot.services):
        return ""
    same_day = (
        datetime.fromtimestamp(at, zone).date() == datetime.fromtimestamp(snapshot.written_at, zone).date()
    )
    clock = words.clock(at, zone, language)
    when = clock if same_day and snapshot.certain else f"{words.day(at, zone, language, year=False)}, {clock}"
    ago = (
        words.duration(snapshot.written_at - at, language, ago=True)
        if snapshot.certain
        else ages.MARK.format(language)
    )
    return texts(language).gettext("Last known state: {clock} ({ago})").format(clock=when, ago=ago)


def _measured(snapshot: PublicSnapshot, language: Language) -> str:
    say, n = texts(language), snapshot.locations
    if not n or all(service.now.live == "unknown" for service in snapshot.services):
        known = snapshot.measured_at is not None
        return say.gettext("We cannot reach our measurements right now.") if known else ""
    every = say.gettext("Measured every {seconds} seconds").format(seconds=f"{snapshot.interval:g}")
    place = say.ngettext("from one location", "from {n} locations", n).format(n=n)
    return f"{every} {place}"


def _groups(
    snapshot: PublicSnapshot, zone: ZoneInfo, language: Language
) -> tuple[tuple[str, tuple[ServiceView, ...]], ...]:
    say, groups = texts(language), dict[str, list[ServiceView]]()
    grouped = any(service.group for service in snapshot.services)
    rest = say.gettext("More services") if grouped else say.gettext("Services")
    for service in snapshot.services:
        name = service.group[language] if service.group else rest
        groups.setdefault(name, []).append(_service(service, snapshot, zone, language))
    return tuple((name, tuple(views)) for name, views in groups.items())


def _service(
    service: ServiceStatus, snapshot: PublicSnapshot, zone: ZoneInfo, language: Language
) -> ServiceView:
    figures = uptime(service.days)
    return ServiceView(
        id=service.id,
        name=service.name[language],
        state=service.now.state,
        words=words.state_words(service.now, language),
        note=_note(service, snapshot, zone, language),
        bars=bars(service.days),
        bar_text=_bar_text(figures, language),
        share=_share(figures, language),
        coverage=_coverage(service, figures, zone, language),
        days=tuple(_disturbed_days(service.days, zone, language)),
    )


def _note(service: ServiceStatus, snapshot: PublicSnapshot, zone: ZoneInfo, language: Language) -> str:
    """The small line below a state: the last known one, the age of a held one, or since when it is bad."""
    say, now = texts(language), service.now
    if now.live == "unknown" and now.last_known and now.measured_at is not None:
        when = _when(now.measured_at, snapshot, zone, language)
        return f"{words.last_known(now.last_known, language)}, {when}"
    if now.held and now.measured_at is not None:
        ago = words.duration(snapshot.written_at - now.measured_at, language, ago=True)
        return say.gettext("Last measured {ago}").format(ago=ago)
    if now.state in ("down", "partial") and service.since is not None:
        return say.gettext("since {time}").format(time=_when(service.since, snapshot, zone, language))
    return ""


def _when(at: float, snapshot: PublicSnapshot, zone: ZoneInfo, language: Language) -> str:
    clock = words.clock(at, zone, language)
    written = datetime.fromtimestamp(snapshot.written_at, zone).date()
    if snapshot.certain and datetime.fromtimestamp(at, zone).date() == written:
        return clock
    return f"{words.day(at, zone, language, year=False)}, {clock}"


def _share(figures: Uptime, language: Language) -> str:
    say = texts(language)
    if figures.percent is None:
        return say.gettext("Not measured for long enough")
    return say.gettext("{percent} % available").format(percent=words.percent(figures.percent, language))


def _coverage(service: ServiceStatus, figures: Uptime, zone: ZoneInfo, language: Language) -> str:
    """The start of measurements, if within the window, and the measured share of time, if not nearly all."""
    if figures.percent is None:
        return ""
    say, measured = texts(language), [row.known > 0 for row in service.days]
    parts = []
    if not measured[0]:
        first = bounds(date.fromisoformat(service.days[measured.index(True)].date), zone)[0]
        since = words.day(first, zone, language, year=False)
        parts.append(say.gettext("since {time}").format(time=since))
    if figures.coverage < 0.99:
        percent = int(figures.coverage * 100)
        parts.append(say.gettext("measured {percent} % of the time").format(percent=percent))
    return ", ".join(parts)


def _bar_text(figures: Uptime, language: Language) -> str:
    say = texts(language)
    if not figures.coverage:
        return say.gettext("90 days: no measurement yet")
    if not figures.disturbed:
        return say.gettext("90 days: no disturbance")
    return say.gettext("90 days: {days} with a disturbance, {minutes}").format(
        days=words.count(figures.disturbed_days, "day", language),
        minutes=words.minutes(figures.disturbed, language),
    )


def _disturbed_days(rows: Iterable[DayRow], zone: ZoneInfo, language: Language) -> Iterable[DayView]:
    for row in sorted((row for row in rows if disturbance(row)), key=lambda row: row.date, reverse=True):
        begin = bounds(date.fromisoformat(row.date), zone)[0]
        yield DayView(
            Moment(words.day(begin, zone, language), row.date),
            words.minutes(row.down, language) if row.down else "\u2013",
            words.minutes(row.partial, language) if row.partial else "\u2013",
        )


def bars(rows: Iterable[DayRow]) -> tuple[tuple[Level, str], ...]:
    """One SVG path by kind of day, in a field of 4 units a day by 32. Kinds differ in shape."""
    shapes: dict[Level, list[str]] = {}
    for index, row in enumerate(rows):
        kind = level(row)
        shapes.setdefault(kind, []).append(_bar(kind, 4 * index))
    return tuple((kind, "".join(paths)) for kind, paths in shapes.items())


def _bar(kind: Level, x: int) -> str:
    height = _HEIGHTS[kind]
    y = _BOTTOM - height
    if kind == "down":
        return f"M{x} {_TOP}h1v5h1v-5h1v{height}h-3z"
    if kind == "maintenance":
        return "".join(f"M{x} {stripe}h3v3h-3z" for stripe in range(y, _BOTTOM, 5))
    if kind == "none":
        return f"M{x} {y}h3v{height}h-3zM{x + 0.6:g} {y + 1.2:g}v{height - 2.4:g}h1.8v-{height - 2.4:g}z"
    return f"M{x} {y}h3v{height}h-3z"


def _works(snapshot: PublicSnapshot, zone: ZoneInfo, language: Language) -> Iterable[WorkView]:
    say = texts(language)
    by_id = {service.id: service.name[language] for service in snapshot.services}
    for work in snapshot.work:
        running = snapshot.certain and work.start <= snapshot.written_at
        yield WorkView(
            work.text[language],
            ", ".join(by_id[name] for name in work.services if name in by_id),
            say.gettext("In progress") if running else say.gettext("Scheduled"),
            *_span(work.start, work.end, zone, language),
        )


def _span(start: float, end: float, zone: ZoneInfo, language: Language) -> tuple[Moment, Moment]:
    """Begin and end, with one date if it is the same."""
    same_day = days.today(start, zone) == days.today(end, zone)
    begin = f"{words.day(start, zone, language)}, {words.clock(start, zone, language)}"
    until = (words.clock_and_zone if same_day else words.date_and_clock)(end, zone, language)
    return Moment(begin, iso(start, zone)), Moment(until, iso(end, zone))


def _outages(snapshot: PublicSnapshot, zone: ZoneInfo, language: Language) -> Iterable[OutageView]:
    by_id = {service.id: service.name[language] for service in snapshot.services}
    for outage in reversed(snapshot.outages):
        yield OutageView(
            f"{outage.service}-{int(outage.start)}",
            by_id[outage.service],
            outage.state,
            words.state_name(outage.state, language),
            Moment(words.date_and_clock(outage.start, zone, language), iso(outage.start, zone)),
            _length(outage, language),
            iso(outage.end or outage.start, zone),
        )


def _length(outage: Outage, language: Language) -> str:
    if outage.end is None:
        return texts(language).gettext("ongoing")
    return words.duration(outage.end - outage.start, language)
