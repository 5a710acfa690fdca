"""One round of the collector, pure: from measurements and memory to the snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from status_page import days
from status_page.measure import Measurement
from status_page.plan import Plan
from status_page.snapshot import DayRow, Outage, PublicSnapshot, ServiceStatus, State
from status_page.states import Observation, judge, measured_at, observe, stale_at

OUTAGES_SHOWN = 20


@dataclass(slots=True)
class Memory:
    """The collector's state between rounds; kept in the history, and in memory if that fails."""

    observations: dict[str, Observation] = field(default_factory=dict)
    states: dict[str, tuple[State, float]] = field(
        default_factory=dict
    )  # the last change: new state, and when
    first_seen: dict[str, float] = field(default_factory=dict)
    days: dict[str, dict[str, DayRow]] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    locations: int = 0


def observe_all(
    plan: Plan, memory: Memory, measurement: Measurement | None, now: float
) -> dict[str, Observation]:
    """The newest observation of each public service that was ever measured."""
    result = {}
    for service in plan.services:
        verdict = measurement.verdicts.get(service.id) if measurement else None
        age = measurement.ages.get(service.id) if measurement else None
        seen = observe(memory.observations.get(service.id), verdict, age, now)
        if seen:
            result[service.id] = seen
    return result


def snapshot(plan: Plan, memory: Memory, now: float) -> PublicSnapshot:
    services = tuple(_services(plan, memory, now))
    at = measured_at(services)
    newest = max((seen.measured_at for seen in memory.observations.values()), default=now)
    return PublicSnapshot(
        site=plan.site,
        languages=plan.languages,
        time_zone=plan.time_zone,
        written_at=now,
        measured_at=at,
        stale_at=stale_at(services, now, plan.limits, plan.interval),
        expires_at=newest + plan.limits.forget,
        interval=plan.probing_interval,
        locations=memory.locations,
        services=services,
        work=tuple(work for work in plan.work if work.end > now),
        url=plan.url,
        outages=tuple([outage for outage in memory.outages if outage.service in plan.ids][-OUTAGES_SHOWN:]),
    )


def nothing_known(plan: Plan, now: float) -> PublicSnapshot:
    return snapshot(plan, Memory(), now)


def _services(plan: Plan, memory: Memory, now: float) -> Iterable[ServiceStatus]:
    shown = [day.isoformat() for day in days.window(days.today(now, ZoneInfo(plan.time_zone)))]
    for service in plan.services:
        rows = memory.days.get(service.id, {})
        working = any(begin <= now < end for begin, end in plan.maintenance_of(service.id))
        judgement = judge(memory.observations.get(service.id), now, plan.limits, working)
        changed = memory.states.get(service.id)
        yield ServiceStatus(
            service.id,
            service.name,
            service.group,
            judgement,
            since=changed[1] if changed and changed[0] == judgement.state else None,
            days=tuple(rows.get(date, DayRow(date)) for date in shown),
        )


def transitions(
    states: Mapping[str, tuple[State, float]], page: PublicSnapshot
) -> list[tuple[str, State | None, State]]:
    """Which services changed: id, from, to. A new service changes from an empty state."""
    changes = []
    for service in page.services:
        before = states[service.id][0] if service.id in states else None
        if before != service.now.state:
            changes.append((service.id, before, service.now.state))
    return changes
