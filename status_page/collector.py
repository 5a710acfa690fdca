"""The collector: in each round, queries Prometheus, judges, keeps the history and writes the pages.

Each part may fail alone. Without Prometheus the states become stale and say so, without the history they stay
in memory, without a disk the old pages stay and become stale.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from leitstand.errors import LeitstandError
from leitstand.files import make_public_folder
from leitstand.prometheus import Prometheus, PrometheusError
from status_page import days, ready
from status_page.api import status_json
from status_page.history import History, HistoryError
from status_page.measure import VERDICT, Measurement, measure, totals
from status_page.metrics import write_metrics
from status_page.plan import Plan
from status_page.rendering import bundle
from status_page.round import Memory, observe_all, snapshot, transitions
from status_page.snapshot import DayRow, PublicSnapshot

LOGGER = logging.getLogger(__name__)
_TODAY_EVERY_SECONDS = 60.0


@dataclass
class Collector:
    """The collector of a site. ``problems`` has the current failures, by part; the public never sees them."""

    plan: Plan
    prometheus: Prometheus
    clock: Callable[[], float] = time.time
    newer_plan: Callable[[], Plan | None] = lambda: None  # called before each round
    memory: Memory = field(default_factory=Memory)
    problems: dict[str, str] = field(default_factory=dict)
    dropped: int = 0
    _history: History | None = None
    _next_days: float = 0.0
    _past_days: list[date] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            begin = time.monotonic()
            self.round()
            stop.wait(max(0.0, self.plan.interval - (time.monotonic() - begin)))

    def round(self) -> PublicSnapshot:
        """Run one round. Never raises for problems that may be gone in a later round."""
        if plan := self.newer_plan():
            self._follow(plan)
        self._guarded("history", self._open_history)
        measurement: Measurement | None = None

        def ask() -> None:
            nonlocal measurement
            measurement = measure(self.prometheus, self.plan.ids)

        self._guarded("prometheus", ask)
        now = self.clock()
        self._remember(measurement, now)
        if measurement:
            self._guarded("days", lambda: self._compute_days(now))
        page = self._record(now)
        self._guarded("pages", lambda: ready.publish(self.plan.folder, bundle(page)))
        self._guarded("metrics", lambda: write_metrics(self.plan.metrics, page, self.problems, self.dropped))
        return page

    def _follow(self, plan: Plan) -> None:
        if plan.prometheus != self.plan.prometheus:
            self.prometheus = Prometheus(plan.prometheus)
        if plan.folder != self.plan.folder:
            self._history = None
        self.plan = plan

    def _guarded(self, part: str, work: Callable[[], None]) -> None:
        """Run one part; log when it begins to fail and when it recovers, not every round."""
        try:
            work()
        except LeitstandError as error:
            if self.problems.get(part) != error.message:
                LOGGER.warning("%s", error.message)
            self.problems[part] = error.message
        else:
            if self.problems.pop(part, None):
                LOGGER.info("%s: works again", part)

    def _open_history(self) -> None:
        if self._history:
            return
        history = open_history(self.plan.folder)
        memory = self.memory
        memory.observations = {**history.observations(), **memory.observations}
        memory.states = {**history.last_states(), **memory.states}
        self._history = history
        self._read_days(self.clock())

    def _remember(self, measurement: Measurement | None, now: float) -> None:
        self.memory.observations = observe_all(self.plan, self.memory, measurement, now)
        self.memory.locations = measurement.locations if measurement else 0
        self.dropped = measurement.dropped if measurement else self.dropped
        for service in measurement.verdicts if measurement else ():
            self.memory.first_seen.setdefault(service, now)

    def _record(self, now: float) -> PublicSnapshot:
        """Record the changes of state, and return the snapshot that shows them."""
        changes = transitions(self.memory.states, snapshot(self.plan, self.memory, now))
        self.memory.states |= {service: (after, now) for service, _, after in changes}
        page = snapshot(self.plan, self.memory, now)

        if self._history is None:
            return page
        history = self._history

        def keep() -> None:
            history.record(now, self.memory.observations, changes, status_json(page))
            if changes:
                self.memory.outages = history.outages(now - days.DAYS * 86_400)

        self._guarded("history", keep)
        return snapshot(self.plan, self.memory, now) if changes else page

    def _compute_days(self, now: float) -> None:
        """Compute today once a minute, and one earlier day in turn, for as long as Prometheus keeps samples.

        In every round while a service is disturbed: else the page would show "100 %" next to "down".
        """
        disturbed = any(seen.state in ("down", "partial") for seen in self.memory.observations.values())
        if not self._history or (now < self._next_days and not disturbed):
            return
        self._next_days = now + _TODAY_EVERY_SECONDS
        step = self.prometheus.rule_interval(VERDICT)
        if step is None:
            raise PrometheusError(f"Prometheus has no recording rule {VERDICT}")
        current = days.today(now, ZoneInfo(self.plan.time_zone))
        if not self._past_days:
            count = int(self.plan.history // 86_400)
            self._past_days = [current - timedelta(days=back) for back in range(count, 0, -1)]
        for day in {current, *self._past_days[-1:]}:
            rows = self._day_rows(day, now, step)
            self._history.keep_days(rows, current.isoformat())
            if day == current and not rows:
                # A new site should not wait a minute for its first bar.
                self._next_days = now
        self._past_days = self._past_days[:-1]
        self._read_days(now)

    def _day_rows(self, day: date, now: float, step: float) -> dict[str, DayRow]:
        begin, end = days.bounds(day, ZoneInfo(self.plan.time_zone))
        end = min(end, now)
        whole = totals(self.prometheus, (begin, end), step, self.plan.ids)
        rows = {}
        for service, measured in whole.items():
            spans = days.merged(self.plan.maintenance_of(service), (begin, end))
            for span in spans:
                within = totals(self.prometheus, span, step, {service})
                measured = measured.less(within.get(service, days.Totals()))
            worked_on = sum(e - b for b, e in spans)
            unseen = min(end, self.memory.first_seen.get(service, begin)) - begin
            rows[service] = days.day_row(day, end - begin, measured, worked_on, max(0.0, unseen))
        return rows

    def _read_days(self, now: float) -> None:
        if not self._history:
            return
        first_day = days.window(days.today(now, ZoneInfo(self.plan.time_zone)))[0]
        self.memory.days = self._history.days(first_day.isoformat())
        self.memory.first_seen = {**self.memory.first_seen, **self._history.first_seen()}
        self.memory.outages = self._history.outages(now - days.DAYS * 86_400)


def open_history(folder: Path) -> History:
    """The history in the state folder, which is created if necessary. Raises HistoryError."""
    try:
        make_public_folder(folder)  # its pages are for the user of `serve`
    except OSError as error:
        raise HistoryError(f"{folder}: cannot be created: {error.strerror}") from error
    return History(folder / "history.sqlite")
