"""The public data: one frozen value, built from an allow-list, from which every output is made.

Times are seconds since 1970 (UTC), durations whole seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Measured = Literal["up", "partial", "down"]
State = Literal["up", "partial", "down", "maintenance", "unknown"]
Language = str  # one of leitstand.languages.LANGUAGES
Label = Mapping[Language, str]  # a name in every language


@dataclass(frozen=True, slots=True)
class DayRow:
    """The seconds of one local day (23, 24 or 25 hours of it), by state."""

    date: str  # 2026-10-25
    up: int = 0
    partial: int = 0
    down: int = 0
    maintenance: int = 0
    unknown: int = 0

    @property
    def known(self) -> int:
        """Seconds that were measured."""
        return self.up + self.partial + self.down


@dataclass(frozen=True, slots=True)
class Judgement:
    """The current state of a service on the page, and the last known one.

    ``live`` is the measured state, even during maintenance. ``held``: the newest measurement is older than
    usual, but not yet too old.
    """

    state: State
    live: State = "unknown"
    last_known: Measured | None = None
    measured_at: float | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service as the public sees it; ``days`` is oldest first, one per calendar day of the window."""

    id: str
    name: Label
    group: Label | None
    now: Judgement
    since: float | None = None
    days: tuple[DayRow, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedWork:
    services: tuple[str, ...]
    start: float
    end: float
    text: Label


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a service was down or partly reachable; ``end`` is None while it lasts."""

    service: str
    state: Measured
    start: float
    end: float | None


@dataclass(frozen=True, slots=True)
class PublicSnapshot:
    """Everything that any output may contain.

    ``url`` is where the public finds the page, without a slash at its end; empty if not configured.
    ``measured_at`` is the oldest measurement among those shown as current, or the newest one if none is.
    From ``stale_at`` on, the states are too old to show: the variants for that have ``certain`` False.
    """

    site: Label
    languages: tuple[Language, ...]
    time_zone: str
    written_at: float
    measured_at: float | None
    stale_at: float
    expires_at: float
    interval: float
    locations: int
    services: tuple[ServiceStatus, ...] = ()
    work: tuple[PlannedWork, ...] = ()
    outages: tuple[Outage, ...] = ()
    certain: bool = True
    url: str = ""
