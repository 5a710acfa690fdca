"""Run the live collectors for one scrape, each on its own account, and write the page."""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from exporter.collectors.collector import Collector, NoData, Skipping
from exporter.guard import Guard, Outcome, Stuck
from exporter.skipped import Skipped
from leitstand.exposition import Family, Renderer, Sample, format_value

DEFAULT_DEADLINE = 9.5  # seconds; Prometheus gives up after 10 unless it is told otherwise
_LOG = logging.getLogger(__name__)
_NAME = re.compile(rb"^# TYPE (\S+) ", re.MULTILINE)
_BEFORE_FAMILY = re.compile(r"^(?=# HELP )", re.MULTILINE)


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

    ``inventory`` gives bytes that are ready for the page; it must not block. ``reserved`` are names that
    others add to the page. ``node_metrics`` false leaves out every name that starts with ``node_``, for hosts
    on which node_exporter serves them.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        inventory: Callable[[], bytes] = bytes,
        *,
        reserved: Collection[str] = (),
        node_metrics: bool = True,
        patience: float = 0.5,
    ) -> None:
        self._collectors = dict(collectors)
        self._inventory = inventory
        self._hidden = () if node_metrics else ("node_",)
        prefix = "node" if node_metrics else "leitstand"
        self._duration = f"{prefix}_scrape_collector_duration_seconds"
        self._success = f"{prefix}_scrape_collector_success"
        self._skipped_total = f"{prefix}_scrape_collector_skipped_entries_total"
        self._reserved = frozenset((*reserved, self._duration, self._success, self._skipped_total))
        self._guard: Guard[Ready] = Guard("collector", patience, maximum_stuck=len(self._collectors) + 1)
        self._renderer = Renderer()
        self._skipped = {
            name: collector.skipped if isinstance(collector, Skipping) else Skipped()
            for name, collector in self._collectors.items()
        }
        self._tasks = {name: self._task(name, collector) for name, collector in self._collectors.items()}
        self._verdicts: dict[str, str] = {}
        self._flights: dict[tuple[frozenset[str] | None, float], _Flight] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The collectors, in the order in which they run."""
        return tuple(self._collectors)

    def render(self, deadline_seconds: float = DEFAULT_DEADLINE, names: Iterable[str] | None = None) -> bytes:
        """One page in the text format 0.0.4, after ``deadline_seconds`` at most, with what is ready by then.

        ``names`` are the collectors asked for; all, and the inventory, without it. Unknown ones are ignored.
        """
        wanted = None if names is None else frozenset(names)
        # Not with those in a greater hurry: theirs is a page with less on it.
        kind = (wanted, deadline_seconds)
        with self._lock:
            flight = self._flights.get(kind)
            if is_first := flight is None:
                flight = self._flights[kind] = _Flight()
        if not is_first:
            # A page of another scrape is as good as one of our own.
            return flight.page if flight.done.wait(deadline_seconds) and flight.page else self._late(wanted)
        try:
            flight.page = self._in_turn(deadline_seconds, wanted)
        finally:
            with self._lock:
                del self._flights[kind]
            flight.done.set()
        return flight.page

    def _in_turn(self, deadline_seconds: float, wanted: frozenset[str] | None) -> bytes:
        """One scrape at a time: a collector keeps what it knows from the last one, and need not share it."""
        end = time.monotonic() + deadline_seconds
        if not self._turn.acquire(timeout=deadline_seconds):
            return self._late(wanted)
        try:
            outcomes = self._guard.run(self._wanted(wanted), max(0.0, end - time.monotonic()))
            inventory = self._inventory()
            texts, successes = self._texts(outcomes, self._reserved | _names_in(inventory))
        finally:
            self._turn.release()
        texts.append(self._self_report(outcomes, successes))
        return _page(texts, inventory if wanted is None else b"")

    def _wanted(self, wanted: frozenset[str] | None) -> dict[str, Callable[[], Ready]]:
        return {name: task for name, task in self._tasks.items() if wanted is None or name in wanted}

    def _late(self, wanted: frozenset[str] | None) -> bytes:
        """What can be said when another scrape took all the time: that no collector gave anything."""
        late: Outcome[Ready] = Outcome(None, Stuck("another scrape took all the time"), 0.0)
        outcomes = dict.fromkeys(self._wanted(wanted), late)
        report = self._self_report(outcomes, dict.fromkeys(outcomes, False))
        return _page([report], self._inventory() if wanted is None else b"")

    def _task(self, name: str, collector: Collector) -> Callable[[], Ready]:
        skipped = self._skipped[name]

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
            return Ready(self._rendered(families, skipped), names)

        return collect

    def _rendered(self, families: list[Family], skipped: Skipped) -> str:
        try:
            return self._renderer.render(families)
        except OverflowError:
            for family in families:
                family.samples = [sample for sample in family.samples if _fits(sample, family.name, skipped)]
            return self._renderer.render(families)

    def _texts(
        self, outcomes: Mapping[str, Outcome[Ready]], taken: frozenset[str]
    ) -> tuple[list[str], dict[str, bool]]:
        """The texts that may stand on one page, and for each collector whether it succeeded.

        ``taken`` are the names that stand on it already.
        """
        seen = set(taken)
        texts, successes = [], {}
        for name, outcome in outcomes.items():
            problem = "" if outcome.error is None else f"{type(outcome.error).__name__}: {outcome.error}"
            if (ready := outcome.value) is not None:
                text = ready.text
                # One name twice, and the whole page is invalid: the later one of them is left out.
                if twice := seen & ready.names:
                    problem = f"metric {min(twice)} is served by another collector already"
                    text = _without(text, twice)
                seen |= ready.names
                texts.append(text)
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
            self._duration,
            "gauge",
            "Time the collector took in this scrape.",
            ("collector",),
            [((name,), round(outcome.seconds, 6)) for name, outcome in outcomes.items()],
        )
        success = Family(
            self._success,
            "gauge",
            "Whether the collector worked; 1 also where the host has nothing for it.",
            ("collector",),
            [((name,), int(good)) for name, good in successes.items()],
        )
        skipped = Family(
            self._skipped_total,
            "counter",
            "Lines and other entries that the collector did not understand and left out.",
            ("collector",),
            [((name,), self._skipped[name].count) for name in successes],
        )
        return self._renderer.render((duration, success, skipped))


def _fits(sample: Sample, name: str, skipped: Skipped) -> bool:
    """Whether a float can hold the sample's number; one that cannot is skipped."""
    try:
        format_value(sample[1])
    except OverflowError as error:
        skipped.add(name, error)
        return False
    return True


def _page(texts: Iterable[str], inventory: bytes) -> bytes:
    return "".join(texts).encode("utf-8", "replace") + inventory


@lru_cache(maxsize=2)
def _names_in(page: bytes) -> frozenset[str]:
    """The families of a page in the text format."""
    return frozenset([name.decode() for name in _NAME.findall(page)])


def _without(text: str, names: Collection[str]) -> str:
    """The text without the families of these names."""
    return "".join(
        [family for family in _BEFORE_FAMILY.split(text) if family and family.split(" ", 3)[2] not in names]
    )
