"""The gate after each batch: what was good before is still good, as Prometheus sees it.

Prometheus is asked, not the hosts: a host that it cannot reach is not well.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from leitstand.prometheus import Prometheus

_GOOD_SCRAPES = 3  # of a host that was measured before and runs something else; any other needs one
_CRITICAL = 2  # of instance:host_health:state
_SCRAPES_MISSED = 1  # an update may cost one
_DEADLINE = 150.0  # seconds: three scrapes at intervals of 15 s, and a start
_PAUSE = 1.0
_IGNORED = "Watchdog|Deployment.*"
_ALERTS = f'ALERTS{{alertstate="firing", severity=~"warning|critical", alertname!~"{_IGNORED}"}}'


@dataclass(frozen=True)
class Seen:
    """What Prometheus says at one moment; a host or service without an entry is unknown."""

    up: Mapping[str, bool] = field(default_factory=dict)
    scraped: Mapping[str, float] = field(default_factory=dict)  # time of the last scrape by host
    health: Mapping[str, float] = field(default_factory=dict)  # instance:host_health:state by host
    verdicts: Mapping[str, float] = field(default_factory=dict)  # service:verdict by service
    alerts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """Whether the gate is open; otherwise the reasons, one line each."""

    reasons: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether the roll-out may go on."""
        return not self.reasons


def look(prometheus: Prometheus) -> Seen:
    """What Prometheus says now. Raises PrometheusError."""
    up = _by(prometheus, 'up{job="host"}', "instance")
    return Seen(
        {host: value == 1 for host, value in up.items()},
        _by(prometheus, 'max by (instance) (timestamp(up{job="host"}))', "instance"),
        _by(prometheus, "instance:host_health:state", "instance"),
        _by(prometheus, "service:verdict", "service"),
        frozenset(_alert(sample.labels) for sample in prometheus.vector(_ALERTS)),
    )


def _by(prometheus: Prometheus, expression: str, label: str) -> dict[str, float]:
    return {sample.labels.get(label, ""): sample.value for sample in prometheus.vector(expression)}


def _alert(labels: Mapping[str, str]) -> str:
    of = next((labels[name] for name in ("service", "host", "instance", "job") if labels.get(name)), "")
    return f"{labels.get('alertname', '')}: {of}" if of else labels.get("alertname", "")


def worse(before: Seen, now: Seen, hosts: Collection[str]) -> Iterator[str]:
    """What was good before and is not now; what was not measured before is not compared."""
    if before.scraped:  # a first roll-out brings the first alerts: what is watched may have been down before
        down = [host for host in hosts if not before.up.get(host)]  # new, or in the place of a lost one
        down += [service for service, verdict in before.verdicts.items() if verdict != 1]
        known = tuple(f": {name}" for name in down)  # its alert may be late: it has its own delay
        fires = (alert for alert in sorted(now.alerts - before.alerts) if not alert.endswith(known))
        yield from (f"the alert {alert} fires since" for alert in fires)
    for service, verdict in sorted(before.verdicts.items()):
        if verdict == 1 and now.verdicts.get(service) != 1:
            state = {0: "down", 0.5: "partly down"}.get(now.verdicts.get(service, -1), "unknown")
            yield f"the service {service} was up and is {state}"
    for host in sorted(hosts):
        if before.health.get(host, _CRITICAL) < _CRITICAL <= now.health.get(host, 0) and now.up.get(host):
            yield f"the host {host} was well and is critical"


@dataclass
class Gate:
    """Watches the hosts of one batch from the moment it is made until `wait` returns."""

    prometheus: Prometheus
    before: Seen
    hosts: Collection[str]
    restarted: Collection[str]  # those of ``hosts`` that run something else than before
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _good: dict[str, list[float]] = field(default_factory=dict)
    _bad: dict[str, set[float]] = field(default_factory=dict)

    def wait(self) -> Verdict:
        """Open when each host had its good scrapes in a row and nothing is worse. Raises PrometheusError.

        Closed at once when something is worse or a host misses more than one scrape.
        """
        start = look(self.prometheus)
        end = self.clock() + _DEADLINE
        while True:
            now = look(self.prometheus)
            self._count(start, now)
            if reasons := [*worse(self.before, now, self.hosts), *self._lost()]:
                return Verdict(tuple(reasons))
            waiting = [host for host in self.hosts if len(self._good.get(host, [])) < self._needed(host)]
            if not waiting:
                return Verdict()
            if self.clock() > end:
                return Verdict(tuple(f"the host {host} is not scraped" for host in waiting))
            self.sleep(_PAUSE)

    def _needed(self, host: str) -> int:
        return _GOOD_SCRAPES if self.before.up.get(host) and host in self.restarted else 1

    def _count(self, start: Seen, now: Seen) -> None:
        """Sort the scrapes since ``start`` into good and bad ones; a bad one begins the row anew."""
        for host in self.hosts:
            moment = now.scraped.get(host)
            if moment is None or moment == start.scraped.get(host):
                continue
            good = self._good.setdefault(host, [])
            if now.up.get(host):
                good += [] if moment in good else [moment]
            else:
                good.clear()
                self._bad.setdefault(host, set()).add(moment)

    def _lost(self) -> list[str]:
        """Hosts that were up before and miss scrapes now; a new one has until the deadline."""
        return [
            f"the host {host} does not answer Prometheus"
            for host, scrapes in sorted(self._bad.items())
            if self.before.up.get(host) and len(scrapes) > _SCRAPES_MISSED
        ]
