"""The settings that the status page needs, and no others: hosts and services' URLs are left out."""

import re
from dataclasses import dataclass
from pathlib import Path

from leitstand.languages import LANGUAGES
from leitstand.settings.fleet import Fleet, Text
from status_page.config import StatusPage, fresh_seconds, state_folder, unknown_seconds
from status_page.days import Span
from status_page.snapshot import Label, Language, PlannedWork
from status_page.states import Limits

# XML cannot hold control characters, and private-use ones mark places in our own texts.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]+")


@dataclass(frozen=True, slots=True)
class PublicService:
    id: str
    name: Label
    group: Label | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of the collector and the web workers."""

    site: Label
    languages: tuple[Language, ...]
    time_zone: str
    services: tuple[PublicService, ...]
    work: tuple[PlannedWork, ...]
    limits: Limits
    interval: float  # seconds between two rounds of the collector
    probing_interval: float
    history: float  # seconds that Prometheus keeps
    prometheus: str
    folder: Path
    metrics: Path
    url: str = ""

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(service.id for service in self.services)

    def maintenance_of(self, service: str) -> list[Span]:
        return [(work.start, work.end) for work in self.work if service in work.services]


def make_plan(fleet: Fleet, page: StatusPage) -> Plan:
    services = tuple(
        PublicService(name, label(service.name), label(service.group) if service.group else None)
        for name, service in fleet.services.items()
        if service.public
    )
    return Plan(
        site=label(fleet.site.name),
        languages=tuple(dict.fromkeys(fleet.site.languages)),
        time_zone=fleet.site.time_zone,
        services=services,
        work=tuple(_public_work(fleet, {service.id for service in services})),
        limits=Limits(
            fresh_seconds(page, fleet), unknown_seconds(page, fleet), page.forget_after.total_seconds()
        ),
        interval=page.interval.total_seconds(),
        probing_interval=fleet.probing.interval.total_seconds(),
        history=page.history.total_seconds(),
        prometheus=page.prometheus,
        folder=state_folder(page, fleet),
        metrics=fleet.paths.metrics / "status-page",
        url=(fleet.site.url or "").rstrip("/"),
    )


def _public_work(fleet: Fleet, public: set[str]) -> list[PlannedWork]:
    works = []
    for work in fleet.maintenance.values():
        services = tuple(name for name in work.services if name in public)
        if services:
            works.append(
                PlannedWork(services, work.start.timestamp(), work.end.timestamp(), label(work.text))
            )
    return sorted(works, key=lambda work: work.start)


def label(text: Text) -> Label:
    """A text of leitstand.yml as the public reads it."""
    return {language: _UNPRINTABLE.sub(" ", text.in_language(language)).strip() for language in LANGUAGES}
