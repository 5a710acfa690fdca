"""The vocabulary that every program shares: site, hosts, services, maintenance, alerts."""

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, model_validator

from leitstand.models import AbsolutePath, Duration, Model, Name

Language = Literal["de", "en"]
Finding = tuple[tuple[str | int, ...], str, str]  # path in the file, what is wrong, what to do
EXPORTER_PORT = 9815
_HOST_NAME = re.compile(r"^(?=.{1,253}$)([a-zA-Z0-9_]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?$")


def _is_address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST_NAME.match(value) or re.fullmatch(r"[0-9.]+", value):
            raise ValueError("an address is an IPv4 or IPv6 address or a host name, without port or scheme") from None
    return value


def _is_time_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("no such time zone; write it as Europe/Berlin or UTC")
    return value


def _is_probe_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL starts with http:// or https:// and names a host")
    if parts.username or parts.password:
        raise ValueError("a URL must not hold a user name or password")
    return value


def _is_regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


Address = Annotated[str, AfterValidator(_is_address)]
TimeZone = Annotated[str, AfterValidator(_is_time_zone)]
ProbeUrl = Annotated[str, AfterValidator(_is_probe_url)]
Pattern = Annotated[str, AfterValidator(_is_regular_expression)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Text(Model):
    """A text for the public in the site's languages; what is missing in one falls back to the other."""

    de: str | None = Field(None, min_length=1)
    en: str | None = Field(None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def one_text_serves_all_languages(cls, value: object) -> object:
        return {"de": value, "en": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def has_a_language(self) -> Self:
        if self.de is None and self.en is None:
            raise ValueError("a text is needed in at least one language: {de: …, en: …} or one text for all")
        return self

    def in_language(self, language: Language) -> str:
        """The text in ``language``, or in the other one."""
        own, other = (self.de, self.en) if language == "de" else (self.en, self.de)
        return own or other or ""


class Site(Model):
    """Who runs this fleet, as the public reads it."""

    name: Text = Text(de="Leitstand", en="Leitstand")
    languages: list[Language] = Field(["en"], min_length=1)
    time_zone: TimeZone = "UTC"
    url: ProbeUrl | None = Field(None, description="Where the public finds the status page.")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which days begin on the page."""
        return ZoneInfo(self.time_zone)


class Host(Model):
    """A machine with an exporter on it."""

    address: Address
    exporter_port: Port = EXPORTER_PORT


class Service(Model):
    """Something the public uses; probed from outside, shown on the status page."""

    name: Text
    url: ProbeUrl
    expect: Pattern | None = Field(None, description="Regular expression that the answer's body must match.")
    status: list[Annotated[int, Field(ge=100, le=599)]] = Field([], description="Good HTTP states; default 2xx.")
    hosts: list[Name] = []
    group: Text | None = None
    public: bool = True


class Maintenance(Model):
    """A planned piece of work: shown to the public, and no alert during it."""

    services: list[Name] = Field(min_length=1)
    start: datetime
    end: datetime
    text: Text

    @model_validator(mode="after")
    def ends_after_it_starts(self) -> Self:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("start and end need a time zone: 2026-12-01T20:00:00+01:00")
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class Mail(Model):
    """Where alert mails go and through which server."""

    to: list[str] = Field(min_length=1)
    sender: str
    smarthost: str = Field("localhost:25", pattern=r"^\S+:\d+$")
    require_tls: bool = True
    username: str | None = None
    password_file: AbsolutePath | None = None


class Alerts(Model):
    """Who is told when something is wrong. Secrets are named by file."""

    mail: Mail | None = None
    webhook_url: ProbeUrl | None = None
    webhook_url_file: AbsolutePath | None = None
    watchdog_url_file: AbsolutePath | None = Field(
        None, description="File with the URL of an outside dead man's switch that must hear from us."
    )
    watchdog_url: ProbeUrl | None = Field(None, description="The same, for a URL that is no secret.")
    runbook_url: ProbeUrl | None = Field(
        None, description="Where docs/runbooks is published; {alert} stands for the alert's name."
    )


class Probing(Model):
    """How services are probed. Canaries are well-known outside targets: if they fail too, we are the ones offline."""

    # Longer, and an outage would be told late: it takes four samples in a row to be believed.
    interval: Duration = Field("15s", ge=timedelta(seconds=1), le=timedelta(minutes=1))  # type: ignore[assignment]
    canaries: list[ProbeUrl] = []


class Paths(Model):
    """Where Leitstand keeps what it writes on this host."""

    state: AbsolutePath = Field(Path("/var/lib/leitstand"), description="Catalog, status history, ready-made pages.")
    metrics: AbsolutePath = Field(
        Path("/var/lib/leitstand/metrics"), description="Textfiles (*.prom) of jobs, published by the exporter."
    )


class Fleet(Model):
    """The sections of leitstand.yml that several programs read."""

    site: Site = Site()
    hosts: dict[Name, Host] = {}
    services: dict[Name, Service] = {}
    maintenance: dict[Name, Maintenance] = {}
    alerts: Alerts = Alerts()
    probing: Probing = Probing()
    paths: Paths = Paths()

    def cross_check(self, fleet: "Fleet") -> Iterator[Finding]:
        """Names that are used but not defined."""
        for name, service in self.services.items():
            for index, host in enumerate(service.hosts):
                if host not in self.hosts:
                    yield unknown(("services", name, "hosts", index), "host", host, self.hosts)
        for name, maintenance in self.maintenance.items():
            for index, service_name in enumerate(maintenance.services):
                if service_name not in self.services:
                    yield unknown(("maintenance", name, "services", index), "service", service_name, self.services)


def unknown(path: tuple[str | int, ...], kind: str, name: str, known: dict[str, object] | dict[str, Host] | dict[str, Service]) -> Finding:
    """The finding for a reference to something that is not defined."""
    names = ", ".join(sorted(known)) or "none is defined"
    return path, f"unknown {kind} '{name}'", f"known: {names}"
