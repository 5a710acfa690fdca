"""Run the live collectors for one scrape, each guarded by itself, and write the page."""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from exporter.exposition import Family, Form, Piece, Renderer, Row, format_value
from exporter.guard import Guard, Outcome, Stuck
from exporter.roots import NoData
from exporter.skipped import Skipped

DEFAULT_DEADLINE = 9.5  # seconds; by default Prometheus gives up after 10
_LOG = logging.getLogger(__name__)
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
Pieces = Sequence[Piece]


@dataclass
class _Flight:
    """A scrape in progress; identical requests wait for it and get the same page."""

    done: threading.Event = field(default_factory=threading.Event)
    page: Pieces = ()


class Given(Collector):
    """Ready metrics, for the registry: ``collect`` yields what ``metrics`` returns."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics()


class Named(Collector):
    """A collector without the hidden metrics; it yields nothing if the host has nothing."""

    def __init__(self, collector: Collector, hidden: tuple[str, ...], renderer: Renderer) -> None:
        self._collector, self._hidden, self._renderer = collector, hidden, renderer
        skipped = getattr(collector, "skipped", None)
        self.skipped = skipped if isinstance(skipped, Skipped) else Skipped()

    def collect(self) -> list[Metric]:
        try:
            metrics = list(self._collector.collect())
        except NoData:
            return []
        if self._hidden:
            metrics = [metric for metric in metrics if not metric.name.startswith(self._hidden)]
        return metrics

    def ready(self, form: Form) -> Pieces:
        """Its metrics, written. Raises what the collector raises."""
        metrics = self.collect()
        try:
            return self._renderer.pieces(metrics, form)
        except OverflowError:
            for family in metrics:
                if isinstance(family, Family):
                    family.rows = [row for row in family.rows if _fits(row, family.full_name, self.skipped)]
            return self._renderer.pieces(metrics, form)


class Scraper:
    """Serves the collectors' metrics, and whether each collector succeeded.

    ``inventory`` returns pieces that are ready for the page; it must not block. ``reserved`` are names that
    others add to the page. ``node_metrics`` false leaves out every name that starts with ``node_``, for hosts
    where node_exporter serves them. ``registry`` holds the collectors, the inventory and the verdicts of
    the last scrape, for prometheus_client's own functions; only `scrape` guards the collectors.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        inventory: Callable[[], Pieces] = tuple,
        *,
        reserved: Collection[str] = (),
        node_metrics: bool = True,
        patience: float = 0.5,
    ) -> None:
        self._renderer = Renderer()
        hidden = () if node_metrics else ("node_",)
        self._collectors = {name: Named(one, hidden, self._renderer) for name, one in collectors.items()}
        self._inventory = inventory
        prefix = "node" if node_metrics else "leitstand"
        self._duration = f"{prefix}_scrape_collector_duration_seconds"
        self._success = f"{prefix}_scrape_collector_success"
        self._skipped_total = f"{prefix}_scrape_collector_skipped_entries_total"
        self._reserved = frozenset((*reserved, self._duration, self._success, self._skipped_total))
        self._taken: tuple[Pieces, frozenset[str]] = ((), self._reserved)
        self._guard: Guard[Pieces] = Guard("collector", patience, maximum_stuck=len(self._collectors) + 1)
        self._report: Pieces = ()
        self.registry = CollectorRegistry()
        for one in self._collectors.values():
            self.registry.register(one)
        self.registry.register(Given(lambda: [piece.metric for piece in (*self._report, *inventory())]))
        self._verdicts: dict[str, str] = {}
        self._flights: dict[tuple[frozenset[str] | None, float, Form], _Flight] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The collectors, in the order in which they run."""
        return tuple(self._collectors)

    def scrape(
        self,
        deadline_seconds: float = DEFAULT_DEADLINE,
        names: Iterable[str] | None = None,
        form: Form = "both",
    ) -> Pieces:
        """The pieces of one page of this form, after at most ``deadline_seconds``, with the results so far.

        ``names`` are the requested collectors; None: all, and the inventory. Unknown names are ignored.
        """
        wanted = None if names is None else frozenset(names)
        # Do not share a scrape with a shorter deadline: its page may have less on it.
        kind = (wanted, deadline_seconds, form)
        with self._lock:
            flight = self._flights.get(kind)
            if is_first := flight is None:
                flight = self._flights[kind] = _Flight()
        if not is_first:
            # A page from another scrape is as good as our own.
            return flight.page if flight.done.wait(deadline_seconds) and flight.page else self._late(wanted)
        try:
            flight.page = self._in_turn(*kind)
        finally:
            with self._lock:
                del self._flights[kind]
            flight.done.set()
        return flight.page

    def _in_turn(self, wanted: frozenset[str] | None, deadline_seconds: float, form: Form) -> Pieces:
        """One scrape at a time: collectors keep state between scrapes, and need no locks."""
        end = time.monotonic() + deadline_seconds
        if not self._turn.acquire(timeout=deadline_seconds):
            return self._late(wanted)
        try:
            outcomes = self._guard.run(self._wanted(wanted, form), max(0.0, end - time.monotonic()))
            inventory = self._inventory()
            if inventory is not self._taken[0]:
                self._taken = inventory, self._reserved | _names(inventory)
            pieces, successes = self._without_doubles(outcomes, self._taken[1])
        finally:
            self._turn.release()
        self._report = self._self_report(outcomes, successes)
        return [*pieces, *self._report, *(inventory if wanted is None else ())]

    def _wanted(self, wanted: frozenset[str] | None, form: Form) -> dict[str, Callable[[], Pieces]]:
        return {
            name: partial(one.ready, form)
            for name, one in self._collectors.items()
            if wanted is None or name in wanted
        }

    def _late(self, wanted: frozenset[str] | None) -> Pieces:
        """The page if another scrape took all the time: every collector failed."""
        late: Outcome[Pieces] = Outcome(None, Stuck("another scrape took all the time"), 0.0)
        outcomes = dict.fromkeys(self._wanted(wanted, "both"), late)
        report = self._self_report(outcomes, dict.fromkeys(outcomes, False))
        return [*report, *(self._inventory() if wanted is None else ())]

    def _without_doubles(
        self, outcomes: Mapping[str, Outcome[Pieces]], taken: frozenset[str]
    ) -> tuple[list[Piece], dict[str, bool]]:
        """The pieces that fit on one page, and for each collector whether it succeeded.

        ``taken`` are the names that are on it already.
        """
        seen = set(taken)
        found: list[Piece] = []
        successes = {}
        for name, outcome in outcomes.items():
            problem, pieces = outcome.problem, outcome.value or ()
            names = [part for piece in pieces for part in piece.names]
            expected = len(seen) + len(names)
            seen.update(names)
            # A duplicate name makes the whole page invalid: the later one is left out.
            if len(seen) < expected:
                problem, pieces = _without(taken | _names(found), pieces)
                seen = {*taken, *_names(found), *_names(pieces)}
            found += pieces
            successes[name] = not problem
            self._tell(name, problem)
        return found, successes

    def _tell(self, name: str, problem: str) -> None:
        # Once per change: a scrape every 15 seconds must not fill the disk with one message, nor with one
        # in which a port or an object's address is new each time.
        kind = problem and _NUMBER.sub("", problem)
        if self._verdicts.get(name, "") != kind:
            self._verdicts[name] = kind
            if problem:
                _LOG.warning("collector %s failed: %s", name, problem)
            else:
                _LOG.info("collector %s works again", name)

    def _self_report(self, outcomes: Mapping[str, Outcome[Pieces]], successes: Mapping[str, bool]) -> Pieces:
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
            "Whether the collector succeeded; also 1 if the host has nothing for it.",
            ("collector",),
            [((name,), int(good)) for name, good in successes.items()],
        )
        skipped = Family(
            self._skipped_total,
            "counter",
            "Lines and other entries that the collector could not parse and left out.",
            ("collector",),
            [((name,), self._collectors[name].skipped.count) for name in successes],
        )
        return self._renderer.pieces((duration, success, skipped))


def _fits(row: Row, name: str, skipped: Skipped) -> bool:
    """Whether the row's number fits into a float; otherwise it is skipped."""
    try:
        format_value(row[1])
    except OverflowError as error:
        skipped.add(name, error)
        return False
    return True


def _names(pieces: Pieces) -> set[str]:
    return {name for piece in pieces for name in piece.names}


def _without(taken: frozenset[str], pieces: Pieces) -> tuple[str, Pieces]:
    """What is wrong, and the pieces whose names are free; none if two of them share a name."""
    names = [name for piece in pieces for name in piece.names]
    if len(set(names)) < len(names):
        return "a metric comes twice", ()
    twice = taken.intersection(names)
    kept = [piece for piece in pieces if twice.isdisjoint(piece.names)]
    return f"metric {min(twice)} is already served by another collector", kept
