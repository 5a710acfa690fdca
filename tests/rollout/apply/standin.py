"""A Prometheus that answers what a test says, on a clock that runs only in sleeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rollout.apply.prometheus_api import Monitoring, NoAnswerError

INTERVAL = 15.0
Series = list[tuple[Mapping[str, str], float]]


@dataclass(frozen=True)
class Fleet(Monitoring):
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

    def query(self, expression: str) -> Series:
        """The answers to the questions of the gate."""
        now = self.clock()
        scraped = now // INTERVAL * INTERVAL
        if not self.answers(now):
            raise NoAnswerError("port 9090 of the leitstand host does not answer")
        if expression.startswith("ALERTS"):
            return [({"alertname": name, "severity": "warning"}, 1.0) for name in self.alerts(now)]
        if expression == "service:verdict":
            return [({"service": name}, value) for name, value in self.verdicts(now).items()]
        if expression == "instance:host_health:state":
            return [({"instance": name}, value) for name, value in self.health(now).items()]
        times = "timestamp" in expression
        return [
            ({"instance": name, "job": "host"}, scraped if times else float(up(scraped)))
            for name, up in self.up.items()
        ]
