"""The section ``status_page`` of leitstand.yml."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from leitstand.settings.fields import Listen, ProbeUrl
from leitstand.settings.fleet import Fleet
from leitstand.settings.models import AbsolutePath, Duration, Model
from leitstand.settings.problems import Finding


class StatusPage(Model):
    """How states are collected and where the page is served."""

    prometheus: ProbeUrl = Field(
        default="http://127.0.0.1:9090", description="URL of the Prometheus server to query."
    )
    interval: Duration = Field(
        default=timedelta(seconds=15), ge=timedelta(seconds=1), description="Interval between two rounds."
    )
    listen: Listen = Field(
        default="127.0.0.1:8080", description="Address and port of `leitstand status-page serve`."
    )
    workers: int = Field(default=2, ge=1, le=64, description="Number of processes that serve the page.")
    fresh_for: Duration | None = Field(
        default=None,
        description="Age up to which a state counts as fresh; default 60s, more if probing is slower.",
    )
    unknown_after: Duration | None = Field(
        default=None, description="Age after which a state is unknown; default three times `fresh_for`."
    )
    forget_after: Duration = Field(
        default=timedelta(hours=24), description="Age after which the last known state is no longer shown."
    )
    history: Duration = Field(
        default=timedelta(days=15),
        description="How long Prometheus keeps samples; days are recalculated that far back.",
    )
    folder: AbsolutePath | None = Field(
        default=None, description="Folder for history and pages; default paths.state/status-page."
    )

    @model_validator(mode="after")
    def a_state_is_fresh_then_unknown_then_forgotten(self) -> Self:
        if self.fresh_for and self.unknown_after and self.fresh_for >= self.unknown_after:
            raise ValueError("unknown_after must be longer than fresh_for")
        if self.unknown_after and self.unknown_after > self.forget_after:
            raise ValueError("forget_after must be longer than unknown_after")
        return self


class StatusPageSettings(Model):
    """The section that this program owns."""

    status_page: StatusPage = StatusPage()

    def cross_check(self, fleet: Fleet) -> Iterator[Finding]:
        """Intervals that would make the page of a healthy site flicker."""
        page = self.status_page
        if page.fresh_for and page.fresh_for < 2 * max(page.interval, fleet.probing.interval):
            yield (
                ("status_page", "fresh_for"),
                "shorter than two rounds of measurement, so the page would flicker",
                "make it at least twice status_page.interval and probing.interval",
            )


def fresh_seconds(page: StatusPage, fleet: Fleet) -> float:
    """Up to this age in seconds a state is shown without it: as set, or four probes, at least 60 s."""
    if page.fresh_for:
        return page.fresh_for.total_seconds()
    return max(60.0, 4 * max(page.interval, fleet.probing.interval).total_seconds())


def unknown_seconds(page: StatusPage, fleet: Fleet) -> float:
    """The age in seconds from which a state is unknown."""
    return page.unknown_after.total_seconds() if page.unknown_after else 3 * fresh_seconds(page, fleet)


def state_folder(page: StatusPage, fleet: Fleet) -> Path:
    return page.folder or fleet.paths.state / "status-page"
