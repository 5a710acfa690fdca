"""A Prometheus that answers what a test says, on a clock that runs only in sleeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from leitstand.prometheus import Prometheus, PrometheusError, Sample

INTERVAL = 15.0


@dataclass
class Fleet(Prometheus):
    """``up`` and ``alerts`` are functions of the time, in seconds; every host is scraped each 15 s."""

    up: Mapping[str, Callable[[float], bool]] = field(default_factory=dict)
    alerts: Callable[[float], list[str]] = lambda _: []
    verdicts: Callable[[float], dict[str, float]] = lambda _: {}
    health: Callable[[float], dict[str, float]] = lambda _: {}
    answers: Callable[[float], bool] = lambda _: True
    now: list[float] = field(default_factory=lambda: [1000.0])

    def clock(self) -> float:
        """Seconds."""
        return self.now[0]

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now[0] += seconds

    def vector(self, expression: str, at: float | None = None) -> list[Sample]:
        """The answers to the questions of the gate."""
        now = self.clock()
        scraped = now // INTERVAL * INTERVAL
        if not self.answers(now):
            raise PrometheusError("Prometheus does not answer")
        if expression.startswith("ALERTS"):
            return [Sample({"alertname": name, "severity": "warning"}, 1.0) for name in self.alerts(now)]
        if expression == "service:verdict":
            return [Sample({"service": name}, value) for name, value in self.verdicts(now).items()]
        if expression == "instance:host_health:state":
            return [Sample({"instance": name}, value) for name, value in self.health(now).items()]
        times = "timestamp" in expression
        return [
            Sample({"instance": name, "job": "host"}, scraped if times else float(up(scraped)))
            for name, up in self.up.items()
        ]
