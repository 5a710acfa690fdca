"""The queries to Prometheus, and the small part of the answers that may become public."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from leitstand.prometheus import Prometheus, Sample
from status_page.days import Span, Totals

VERDICT = "service:verdict"
SAMPLE_AGE = 'time() - max by (service) (timestamp(probe_success{service!=""}))'
RULE_AGE = "time() - max(timestamp(service:raw))"
CONNECTED = "vantage:connected == 1"
# Several vantage points of one location differ by address family: "vienna4", "vienna6".
_FAMILY = re.compile(r"[46]$")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Verdicts and ages (seconds) by service, of public ones; ``dropped`` counts the other series."""

    verdicts: dict[str, float]
    ages: dict[str, float]
    locations: int
    dropped: int


def measure(prometheus: Prometheus, services: Collection[str]) -> Measurement:
    """Query the present state. Raises PrometheusError at the first query that fails."""
    verdicts, dropped = allowed(prometheus.vector(VERDICT), services)
    sample_ages, also_dropped = allowed(prometheus.vector(SAMPLE_AGE), services)
    rule_age = max((sample.value for sample in prometheus.vector(RULE_AGE)), default=None)
    connected = prometheus.vector(CONNECTED)
    # Old samples behind a live rule, or a dead rule before live samples: the older of both is the age.
    ages = {} if rule_age is None else {name: max(age, rule_age) for name, age in sample_ages.items()}
    return Measurement(verdicts, ages, count_locations(connected), dropped + also_dropped)


def allowed(samples: list[Sample], services: Collection[str]) -> tuple[dict[str, float], int]:
    """The values by public service, and how many series were dropped.

    Two series for one service contradict each other: neither is used.
    """
    found: dict[str, list[float]] = {}
    for sample in samples:
        found.setdefault(sample.labels.get("service", ""), []).append(sample.value)
    values = {name: each[0] for name, each in found.items() if name in services and len(each) == 1}
    return values, len(samples) - len(values)


def count_locations(connected: list[Sample]) -> int:
    names = {sample.labels.get("vantage", "") for sample in connected}
    return len({_FAMILY.sub("", name) or name for name in names if name})


def totals(prometheus: Prometheus, span: Span, step: float, services: Collection[str]) -> dict[str, Totals]:
    """Measured seconds by service in a span; ``step`` is the seconds that one sample represents.

    Sums of raw samples, not averages: a gap must not count as available.
    """
    seconds = max(1, round(span[1] - span[0]))

    def ask(function: str, metric: str) -> dict[str, float]:
        expression = f"sum by (service) ({function}({metric}[{seconds}s]))"
        return allowed(prometheus.vector(expression, at=span[1]), services)[0]

    counts, verdicts = ask("count_over_time", VERDICT), ask("sum_over_time", VERDICT)
    available = ask("sum_over_time", "service:available")
    return {
        name: split(count, verdicts.get(name, 0.0), available.get(name, 0.0), step)
        for name, count in counts.items()
    }


def split(count: float, verdict_sum: float, available_sum: float, step: float) -> Totals:
    """Seconds up, partly and down from three sums: verdicts are 1, 0.5, 0, availability is 1, 1, 0."""
    partial = max(0.0, 2 * (available_sum - verdict_sum))
    return Totals(
        max(0.0, available_sum - partial) * step, partial * step, max(0.0, count - available_sum) * step
    )
