"""Run the live collectors for one scrape, each on its own account, and write the page."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.collectors.collector import Collector, NoData
from exporter.guard import Guard, Outcome
from leitstand.exposition import Family, Renderer

DEFAULT_DEADLINE = 9.5  # seconds; Prometheus gives up after 10 unless it is told otherwise
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """What a collector gave, as text, with the names in it."""

    text: str
    names: frozenset[str]


@dataclass
class _Flight:
    """A scrape under way; those who ask for the same meanwhile wait for it and get the same page."""

    done: threading.Event = field(default_factory=threading.Event)
    page: bytes = b""


class Scraper:
    """Renders what the collectors say, with a verdict on each of them.

    ``inventory`` gives bytes that are ready for the page; it must not block. ``node_metrics`` false leaves
    out every name that starts with ``node_``, for hosts on which node_exporter serves them.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        inventory: Callable[[], bytes] = bytes,
        *,
        node_metrics: bool = True,
        patience: float = 0.5,
    ) -> None:
        self._collectors = dict(collectors)
        self._inventory = inventory
        self._hidden = () if node_metrics else ("node_",)
        self._prefix = "node" if node_metrics else "leitstand"
        self._guard: Guard[Ready] = Guard("collector", patience, maximum_stuck=len(self._collectors) + 1)
        self._renderer = Renderer()
        self._tasks = {name: self._task(collector) for name, collector in self._collectors.items()}
        self._verdicts: dict[str, str] = {}
        self._flights: dict[frozenset[str] | None, _Flight] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The collectors, in the order in which they run."""
        return tuple(self._collectors)

    def render(self, deadline_seconds: float = DEFAULT_DEADLINE, names: Iterable[str] | None = None) -> bytes:
        """One page in the text format 0.0.4, after ``deadline_seconds`` at most, with what is ready by then.

        ``names`` are the collectors asked for; all, and the inventory, without it. Unknown ones are ignored.
        """
        wanted = None if names is None else frozenset(names)
        with self._lock:
            flight = self._flights.get(wanted)
            if is_first := flight is None:
                flight = self._flights[wanted] = _Flight()
        if not is_first:
            # A page of another scrape is as good; only if it is late is ours worth the work.
            if flight.done.wait(deadline_seconds):
                return flight.page
            return self._render(0.0, wanted)
        try:
            flight.page = self._render(deadline_seconds, wanted)
        finally:
            with self._lock:
                del self._flights[wanted]
            flight.done.set()
        return flight.page

    def _render(self, deadline_seconds: float, wanted: frozenset[str] | None) -> bytes:
        tasks = (
            self._tasks
            if wanted is None
            else {name: task for name, task in self._tasks.items() if name in wanted}
        )
        outcomes = self._guard.run(tasks, deadline_seconds)
        texts, successes = self._texts(outcomes)
        page = "".join([*texts, self._self_report(outcomes, successes)]).encode("utf-8", "replace")
        return page + self._inventory() if wanted is None else page

    def _task(self, collector: Collector) -> Callable[[], Ready]:
        def collect() -> Ready:
            try:
                families = list(collector.collect())
            except NoData:
                return Ready("", frozenset())
            if self._hidden:
                families = [family for family in families if not family.name.startswith(self._hidden)]
            names = frozenset([family.name for family in families])
            if len(names) < len(families):
                raise ValueError("a metric comes twice")
            return Ready(self._renderer.render(families), names)

        return collect

    def _texts(self, outcomes: Mapping[str, Outcome[Ready]]) -> tuple[list[str], dict[str, bool]]:
        """The texts that may stand on one page, and for each collector whether it succeeded."""
        seen: set[str] = set()
        texts, successes = [], {}
        for name, outcome in outcomes.items():
            problem = "" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"
            if outcome.value is not None:
                # One name twice, and Prometheus refuses the whole page: the later collector loses its part.
                if twice := seen & outcome.value.names:
                    problem = f"metric {min(twice)} is served by another collector already"
                else:
                    seen |= outcome.value.names
                    texts.append(outcome.value.text)
            successes[name] = not problem
            self._tell(name, problem)
        return texts, successes

    def _tell(self, name: str, problem: str) -> None:
        # Once per change: a scrape every 15 seconds must not fill the disk with one sentence.
        if self._verdicts.get(name, "") != problem:
            self._verdicts[name] = problem
            if problem:
                _LOG.warning("collector %s failed: %s", name, problem)
            else:
                _LOG.info("collector %s works again", name)

    def _self_report(self, outcomes: Mapping[str, Outcome[Ready]], successes: Mapping[str, bool]) -> str:
        duration = Family(
            f"{self._prefix}_scrape_collector_duration_seconds",
            "gauge",
            "Time the collector took in this scrape.",
            ("collector",),
            [((name,), round(outcome.seconds, 6)) for name, outcome in outcomes.items()],
        )
        success = Family(
            f"{self._prefix}_scrape_collector_success",
            "gauge",
            "Whether the collector worked; 1 also where the host has nothing for it.",
            ("collector",),
            [((name,), int(good)) for name, good in successes.items()],
        )
        return self._renderer.render((duration, success))
