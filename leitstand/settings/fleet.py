"""The sections that every program shares: site, hosts, services, maintenance, alerts."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from unicodedata import category
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, GetJsonSchemaHandler, GetPydanticSchema, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import literal_schema

from leitstand.languages import LANGUAGES
from leitstand.settings.fields import (
    MailAddress,
    MailServer,
    Moment,
    Pattern,
    ProbeUrl,
    TimeZone,
)
from leitstand.settings.hosts import Host
from leitstand.settings.models import AbsolutePath, Duration, Line, Model, Name, SettingError
from leitstand.settings.problems import Finding
from leitstand.settings.roles import role_findings

Language = Annotated[str, GetPydanticSchema(lambda *_: literal_schema(list(LANGUAGES)))]
_SAMPLE = f"{{{', '.join(f'{language}: …' for language in LANGUAGES)}}}"


def _in_every_language(model: type["Text"]) -> type["Text"]:
    """The model with a field for each language, such as ``de``."""
    fields: dict[str, Any] = {
        language: (
            str | None,
            Field(default=None, min_length=1, description=f"In the language '{language}'."),
        )
        for language in LANGUAGES
    }
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


@_in_every_language
class Text(Model):
    """A text for the public, for all languages or per language; a missing one falls back to another."""

    @model_validator(mode="before")
    @classmethod
    def one_text_serves_all_languages(cls, value: object) -> object:
        if isinstance(value, (dict, Model)):
            return value
        if isinstance(value, int | float):
            found = "true or false" if isinstance(value, bool) else "a number"
            raise SettingError(f"must be a text, not {found}", "put it in quotes")
        if not isinstance(value, str) or not value.strip():
            raise SettingError("a text is needed", f"write one for all languages, or {_SAMPLE}")
        return dict.fromkeys(LANGUAGES, value)

    @model_validator(mode="after")
    def has_a_language(self) -> Self:
        given = "".join(text for text in dict(self).values() if text)
        if not given:
            raise SettingError(
                "a text is needed in at least one language", f"write {_SAMPLE} or one text for all"
            )
        # Marks that join or separate letters are allowed; a line feed separates paragraphs.
        if any(category(letter) in ("Cc", "Cs") for letter in re.sub(r"[\n\t]", "", given)):
            raise SettingError("a text contains a control character", "leave it out")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        by_language = handler.resolve_ref_schema(handler(core_schema))
        by_language["minProperties"] = 1
        text = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x08\x0b-\x1f\x7f]*$"}
        return {"anyOf": [text, by_language], "description": cls.__doc__ or ""}

    def in_language(self, language: Language) -> str:
        """The text in ``language``; if there is none, in English, else in any."""
        texts: dict[str, str | None] = dict(self)
        return texts[language] or texts["en"] or next(filter(None, texts.values()), "")


class Site(Model):
    """The organisation that runs this fleet, as the public sees it."""

    name: Text = Field(
        default=Text.model_validate("Leitstand"),
        description="Name of your organisation, as the public knows it.",
    )
    languages: list[Language] = Field(
        default=["en"], min_length=1, description="The status page's languages, the main one first."
    )
    time_zone: TimeZone = Field(
        default="UTC", description="Time zone for days, schedules and displayed times, such as Europe/Berlin."
    )
    url: ProbeUrl | None = Field(default=None, description="Public URL of the status page.")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which days begin on the page."""
        return ZoneInfo(self.time_zone)


class Service(Model):
    """A service for the public; probed from outside and shown on the status page."""

    name: Text = Field(description="Name on the status page.")
    url: ProbeUrl = Field(description="URL to probe, as a visitor would request it.")
    expect: Pattern | None = Field(
        default=None,
        description="Regular expression (RE2) that the response body, of 16 MB at most, must match.",
    )
    status: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default=[], description="HTTP status codes that count as good; default 2xx."
    )
    hosts: list[Name] = Field(default=[], description="Hosts it runs on (names from hosts).")
    group: Text | None = Field(default=None, description="Heading under which the status page shows it.")
    public: bool = Field(default=True, description="Whether the status page shows it.")


class Maintenance(Model):
    """Planned work: shown to the public; alerts of its services do not fire during it."""

    services: list[Name] = Field(min_length=1, description="Affected services (names from services).")
    start: Moment = Field(description="Beginning, with time zone: 2026-12-01T20:00:00+01:00.")
    end: Moment = Field(description="End, with time zone.")
    text: Text = Field(description="Text for the public.")

    @model_validator(mode="after")
    def ends_after_it_starts(self) -> Self:
        if self.end <= self.start:
            raise SettingError("end must be after start")
        return self


class Mail(Model):
    """Where alert mails go and through which server."""

    to: list[MailAddress] = Field(min_length=1, description="Recipients.")
    sender: MailAddress = Field(description="Sender address.")
    smarthost: MailServer = Field(
        default="localhost:25",
        description="Mail server and port to send them through. Port 465 is encrypted from the first byte.",
    )
    ca_file: AbsolutePath | None = Field(
        default=None,
        description="Certificate of the CA that signed the mail server's, if it is a private one.",
    )
    require_tls: bool | None = Field(
        default=None,
        description="Refuse to send unencrypted; default: yes, except to a server on this machine.",
    )
    username: Line | None = Field(default=None, min_length=1, description="User name at the mail server.")
    password_file: AbsolutePath | None = Field(default=None, description="File with the password for it.")

    @model_validator(mode="after")
    def username_and_password_come_together(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise SettingError("username and password_file must be given together", "give both or neither")
        return self

    @property
    def needs_starttls(self) -> bool:
        """Whether an unencrypted connection must become an encrypted one. Port 465 is one from its start.

        A local server rarely has a certificate for this name.
        """
        host, _, port = self.smarthost.rpartition(":")
        if port == "465":
            return False
        if self.require_tls is not None:
            return self.require_tls
        return host.strip("[]") not in ("localhost", "127.0.0.1", "::1")


class Alerts(Model):
    """Where alerts are sent. Secrets are given as files."""

    mail: Mail | None = Field(default=None, description="Alerts by mail.")
    webhook_url: ProbeUrl | None = Field(
        default=None, description="URL that receives each alert as a POST request."
    )
    webhook_url_file: AbsolutePath | None = Field(
        default=None,
        description="The same, for a secret URL: the file that contains it. Needs Alertmanager 0.26; "
        "Debian 12 has 0.25.",
    )
    watchdog_url_file: AbsolutePath | None = Field(
        default=None,
        description="File with the URL of an external dead man's switch that receives the Watchdog. Needs "
        "Alertmanager 0.26; Debian 12 has 0.25.",
    )
    watchdog_url: ProbeUrl | None = Field(default=None, description="The same, for a URL that is not secret.")
    runbook_url: ProbeUrl | None = Field(
        default=None, description="Where docs/runbooks is published; {alert} stands for the alert's name."
    )

    @model_validator(mode="after")
    def names_each_url_once(self) -> Self:
        for name in ("webhook_url", "watchdog_url"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise SettingError(f"{name} and {name}_file are both given", "keep one of them")
        return self


class Probing(Model):
    """How services are probed."""

    # Longer intervals would report outages late: an outage needs four failed samples in a row.
    interval: Duration = Field(
        default="15s",
        validate_default=True,
        ge=timedelta(seconds=1),
        le=timedelta(minutes=1),
        description="Interval between two probes of a service.",
    )
    canaries: list[ProbeUrl] = Field(
        default=[],
        description="Well-known external URLs; if they fail, too, the vantage point itself is offline.",
    )


class Paths(Model):
    """Folders for the files that Leitstand writes on this host."""

    state: AbsolutePath = Field(
        default=Path("/var/lib/leitstand"), description="Folder for the catalog, status history and pages."
    )
    metrics: AbsolutePath = Field(
        default=Path("/var/lib/leitstand/metrics"),
        description="Folder for textfiles (*.prom), published by the exporter.",
    )


class Fleet(Model):
    """The sections of leitstand.yml that several programs read."""

    site: Site = Field(
        default=Site(), description="The organisation that runs this fleet, as the public sees it."
    )
    hosts: dict[Name, Host] = Field(default={}, description="Monitored machines, each with an exporter.")
    services: dict[Name, Service] = Field(
        default={}, description="Services for the public; probed and shown on the status page."
    )
    maintenance: dict[Name, Maintenance] = Field(
        default={},
        description="Planned work: shown to the public; alerts of its services do not fire during it.",
    )
    alerts: Alerts = Field(default=Alerts(), description="Where alerts are sent.")
    probing: Probing = Field(default=Probing(), description="How services are probed.")
    paths: Paths = Field(
        default=Paths(), description="Folders for the files that Leitstand writes on this host."
    )

    def cross_check(self, fleet: "Fleet") -> Iterator[Finding]:
        """Names that are used but not defined; missing time zone data, without which UTC is unknown, too."""
        try:
            _ = self.site.zone
        except ZoneInfoNotFoundError:
            yield ("site", "time_zone"), "this machine has no time zone data", "apt install tzdata"
        for name, service in self.services.items():
            path = ("services", name, "hosts")
            yield from undefined(path, "host", service.hosts, self.hosts)
        for name, maintenance in self.maintenance.items():
            path = ("maintenance", name, "services")
            yield from undefined(path, "service", maintenance.services, self.services)
        yield from role_findings(self.hosts)


def undefined(
    path: tuple[str | int, ...], kind: str, names: list[str], known: Mapping[str, Any]
) -> Iterator[Finding]:
    """A finding for each of ``names``, the list at ``path``, that is not ``known``."""
    for index, name in enumerate(names):
        if name not in known:
            yield unknown((*path, index), kind, name, known)


def unknown(path: tuple[str | int, ...], kind: str, name: str, known: Mapping[str, Any]) -> Finding:
    """The finding for a reference to something that is not defined."""
    names = ", ".join(sorted(known))
    return path, f"unknown {kind} '{name}'", f"known: {names}" if names else f"no {kind} is defined"
