"""From measurements to published states: pure, no clock, no input or output.

A state is shown while its measurement is recent. Then it is unknown: without data it is never green.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from status_page.snapshot import Judgement, Measured, PublicSnapshot, ServiceStatus, State

# Worst first, for the headline. Maintenance never hides another service's outage.
SEVERITY: tuple[State, ...] = ("down", "partial", "unknown", "maintenance", "up")
_MEASURED: dict[float, Measured] = {1.0: "up", 0.5: "partial", 0.0: "down"}
Variant = Literal["fresh", "stale", "expired"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Ages in seconds: up to ``fresh`` as is, above ``unknown`` not shown, above ``forget`` forgotten."""

    fresh: float = 60
    unknown: float = 180
    forget: float = 86400


@dataclass(frozen=True, slots=True)
class Observation:
    state: Measured
    measured_at: float


def observe(
    previous: Observation | None, verdict: float | None, age: float | None, now: float
) -> Observation | None:
    """The newest observation. A verdict without an age, or one other than 1, 0.5, 0, is ignored.

    An age below 0 means a clock that is ahead: the age then counts as 0.
    """
    state = _MEASURED.get(verdict) if verdict is not None else None
    if state is None or age is None or not 0 <= max(age, 0.0) < float("inf"):
        return previous
    observation = Observation(state, now - max(age, 0.0))
    if previous and previous.measured_at > observation.measured_at and previous.measured_at <= now:
        return previous
    return observation


def judge(
    observation: Observation | None, now: float, limits: Limits, in_maintenance: bool = False
) -> Judgement:
    """The state of a service to show at ``now``.

    A measurement from the future (the clock was set back) counts as that far in the past.
    """
    if observation is None or abs(now - observation.measured_at) > limits.forget:
        return Judgement("maintenance" if in_maintenance else "unknown")
    age = abs(now - observation.measured_at)
    live: State = "unknown" if age > limits.unknown else observation.state
    shown: State = "maintenance" if in_maintenance else live
    held = limits.fresh < age <= limits.unknown
    return Judgement(shown, live, observation.state, observation.measured_at, held)


def worst(services: Iterable[ServiceStatus]) -> State:
    """The worst state among services; unknown when there is none."""
    return min((service.now.state for service in services), key=SEVERITY.index, default="unknown")


def measured_at(services: Sequence[ServiceStatus]) -> float | None:
    """The oldest measurement among those shown as current, or the newest one if none is."""
    current = [
        s.now.measured_at for s in services if s.now.live != "unknown" and s.now.measured_at is not None
    ]
    past = [s.now.measured_at for s in services if s.now.measured_at is not None]
    return min(current) if current else max(past, default=None)


def stale_at(services: Sequence[ServiceStatus], now: float, limits: Limits, interval: float) -> float:
    """When a page written ``now`` becomes stale if no newer one follows.

    A held state must not exceed its own limit, but two rounds are always allowed, or the page would flicker.
    """
    oldest = measured_at(services)
    if oldest is None:
        return now + limits.fresh
    return min(now + limits.fresh, max(oldest + limits.unknown, now + 2 * interval))


def uncertain(snapshot: PublicSnapshot, variant: Variant) -> PublicSnapshot:
    """The same page for the case that no newer one is written: no state is shown as current.

    ``stale`` keeps the last known states, ``expired`` does not.
    """
    if variant == "fresh":
        return snapshot
    services = tuple(_past(service, keep=variant == "stale") for service in snapshot.services)
    return replace(snapshot, services=services, certain=False)


def _past(service: ServiceStatus, keep: bool) -> ServiceStatus:
    now = service.now
    past = Judgement("unknown", "unknown", now.last_known, now.measured_at) if keep else Judgement("unknown")
    return replace(service, now=past, since=None)
