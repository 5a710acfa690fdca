"""States of systemd units, over the system bus, which answers every user: no privileges are needed."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from prometheus_client.registry import Collector

from exporter.collectors.collector import gauge
from exporter.collectors.dbus import BusError, Call, Connection, property_of, read_rows, read_variant
from exporter.collectors.options import Options, pattern
from exporter.exposition import Family, Kind, Row
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

_SOCKET = "run/dbus/system_bus_socket"
_BOOTED = "run/systemd/system"  # sd_booted(3)
_SERVICE, _OBJECT, _PREFIX = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1",
)
_UNIT_KINDS = "ssssssouso"
_STATES = ("activating", "active", "deactivating", "failed", "inactive")
_PATIENCE = 5.0  # seconds for a reply; systemd does not reply while it reloads a thousand units
# A bus that did not reply gets less time for a while: it must not delay scrape after scrape.
_IMPATIENCE, _SUSPECT = 0.3, 60.0
_TYPES_KEPT = 600.0  # seconds; a service's type changes only with its file
_VERSION = re.compile(r"\d{3,}(?:\.\d+)?", re.ASCII)
_MICROSECONDS = 1_000_000
Value = TypeVar("Value", str, int)
# Property of a socket, metric, kind, explanation; the last is a gauge in node_exporter, too.
CONNECTIONS: tuple[tuple[str, str, Kind, str], ...] = (
    ("NAccepted", "accepted_connections_total", "counter", "Connections accepted."),
    ("NConnections", "current_connections", "gauge", "Connections open."),
    ("NRefused", "refused_connections_total", "gauge", "Connections refused."),
)


@dataclass(frozen=True, slots=True)
class Unit:
    name: str
    loaded: str
    state: str
    path: str


class SystemdUnits(Collector):
    """node_systemd_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._place, self._host = str(roots.root / _SOCKET), roots.root_files
        self._include = pattern(options, "systemd_unit_include")
        self._exclude = pattern(options, "systemd_unit_exclude")
        self._with_restarts = options.systemd_enable_restarts_metrics
        self._with_tasks = options.systemd_enable_task_metrics
        self._with_start_times = options.systemd_enable_start_time_metrics
        self._connection: Connection | None = None
        self._types: dict[str, str] = {}
        self._types_since = 0.0
        self._suspect_until = 0.0
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        is_suspect = time.monotonic() < self._suspect_until
        try:
            families = self._collect(_IMPATIENCE if is_suspect else _PATIENCE)
        except TimeoutError as error:
            self._drop()
            if not is_suspect:
                self._suspect_until = time.monotonic() + _SUSPECT
            raise TimeoutError("the system bus does not reply") from error
        self._suspect_until = 0.0
        return families

    def _collect(self, patience: float) -> list[Family]:
        if self._connection is not None:
            try:
                self._connection.allow(patience)
                return self._ask(self._connection)
            except TimeoutError:
                raise  # a bus that does not reply will not reply to a second query either
            except (OSError, BusError):
                self._drop()  # the bus may have been restarted since the last scrape: try again
        try:
            self._connection = Connection(self._place, patience)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoData("no system bus") from error
        try:
            return self._ask(self._connection)
        except BaseException:
            # A late reply to an earlier call would be taken for the next one.
            self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, bus: Connection) -> list[Family]:
        manager = f"{_PREFIX}.Manager"
        answers = bus.ask(
            [
                Call(_SERVICE, _OBJECT, manager, "ListUnits"),
                property_of(_SERVICE, _OBJECT, manager, "Version"),
                property_of(_SERVICE, _OBJECT, manager, "SystemState"),
                property_of(_SERVICE, _OBJECT, manager, "Virtualization"),
            ]
        )
        if isinstance(answers[0], BusError):
            if not self._host.exists(_BOOTED):
                raise NoData("a system bus without systemd")
            raise answers[0]
        units = parse_units(answers[0], self.skipped)
        wanted = [unit for unit in units if unit.loaded == "loaded" and self._wants(unit.name)]
        self._learn_types(bus, wanted)
        of_manager = self.skipped.parts("manager", *_manager_parts(answers[1:]))
        families = [*of_manager, _summary(units), self._states(wanted)]
        return [
            *families,
            *self._timers(bus, wanted),
            *self._sockets(bus, wanted),
            *self._optional(bus, wanted),
        ]

    def _wants(self, name: str) -> bool:
        return self._include.fullmatch(name) is not None and self._exclude.fullmatch(name) is None

    def _learn_types(self, bus: Connection, units: Sequence[Unit]) -> None:
        """Query the types of unknown services; of all services now and then."""
        now = time.monotonic()
        if now - self._types_since > _TYPES_KEPT:
            self._types, self._types_since = {}, now
        services = [unit for unit in units if unit.name.endswith(".service") and unit.name not in self._types]
        types = self._properties(bus, services, "Service", "Type", str)
        # Query failed ones again: a label that is wrong for ten minutes makes another series.
        self._types.update(types)

    def _states(self, units: Sequence[Unit]) -> Family:
        family = Family(
            "node_systemd_unit_state",
            "gauge",
            "Whether the unit is in this state.",
            ("name", "state", "type"),
        )
        for unit in units:
            kind = self._types.get(unit.name, "")
            family.rows += [((unit.name, state, kind), int(state == unit.state)) for state in _STATES]
        return family

    def _optional(self, bus: Connection, units: Sequence[Unit]) -> Iterable[Family]:
        services = [unit for unit in units if unit.name.endswith(".service")]
        if self._with_restarts:
            restarts = Family(
                "node_systemd_service_restart_total", "counter", "Times the service was restarted.", ("name",)
            )
            restarts.rows = self._numbers(bus, services, "Service", "NRestarts")
            yield restarts
        if self._with_tasks:
            tasks = Family("node_systemd_unit_tasks_current", "gauge", "Tasks of the service.", ("name",))
            tasks.rows = self._numbers(bus, services, "Service", "TasksCurrent")
            most = Family(
                "node_systemd_unit_tasks_max", "gauge", "Maximum number of tasks of the service.", ("name",)
            )
            most.rows = self._numbers(bus, services, "Service", "TasksMax")
            yield from (tasks, most)
        if self._with_start_times:
            yield self._start_times(bus, units)

    def _start_times(self, bus: Connection, units: Sequence[Unit]) -> Family:
        family = Family(
            "node_systemd_unit_start_time_seconds",
            "gauge",
            "When the unit became active, in Unix time; 0 if it is not active.",
            ("name",),
        )
        active = [unit for unit in units if unit.state == "active"]
        moments = self._properties(bus, active, "Unit", "ActiveEnterTimestamp", int)
        for unit in units:
            if unit.state != "active" or unit.name in moments:
                family.add(moments.get(unit.name, 0) / _MICROSECONDS, unit.name)
        return family

    def _timers(self, bus: Connection, units: Sequence[Unit]) -> list[Family]:
        timers = [unit for unit in units if unit.name.endswith(".timer")]
        family = Family(
            "node_systemd_timer_last_trigger_seconds",
            "gauge",
            "When the timer last started its unit, in Unix time.",
            ("name",),
        )
        for name, moment in self._properties(bus, timers, "Timer", "LastTriggerUSec", int).items():
            family.add(moment / _MICROSECONDS, name)
        return [family]

    def _sockets(self, bus: Connection, units: Sequence[Unit]) -> list[Family]:
        sockets = [unit for unit in units if unit.name.endswith(".socket")]
        families = []
        for name, metric, kind, explanation in CONNECTIONS:
            family = Family(f"node_systemd_socket_{metric}", kind, explanation, ("name",))
            family.rows = self._numbers(bus, sockets, "Socket", name)
            families.append(family)
        return families

    def _numbers(self, bus: Connection, units: Sequence[Unit], kind: str, name: str) -> list[Row]:
        numbers = self._properties(bus, units, kind, name, int)
        return [((unit,), number) for unit, number in numbers.items() if number != _NO_NUMBER]

    def _properties(
        self, bus: Connection, units: Sequence[Unit], kind: str, name: str, form: Callable[[str | int], Value]
    ) -> dict[str, Value]:
        """One property of each unit; units that do not have it are left out."""
        answers = bus.ask([property_of(_SERVICE, unit.path, f"{_PREFIX}.{kind}", name) for unit in units])
        pairs = zip(units, answers, strict=True)
        good = ((unit.name, answer) for unit, answer in pairs if not isinstance(answer, BusError))
        try:
            return dict(self.skipped.each(name, good, lambda pair: (pair[0], form(read_variant(pair[1])))))
        except ValueError:
            return {}  # none of them; other data of the units stays


_NO_NUMBER = 2**64 - 1  # what systemd reports without a limit, or without accounting


def parse_units(body: bytes, skipped: Skipped) -> list[Unit]:
    """The units in the reply to ListUnits. Raises ValueError if it is truncated."""
    try:
        units = [Unit(row[0], row[2], row[3], row[6]) for row in read_rows(body, _UNIT_KINDS)]
    except Exception as error:
        raise ValueError("not a list of units") from error
    return list(skipped.unique("units", ((unit.name, unit) for unit in units)).values())


def _manager_parts(answers: Sequence[bytes | BusError]) -> Iterable[Callable[[], Iterable[Family]]]:
    """The manager's own data: its version, the system's state, the virtualization."""
    for answer, make in zip(answers, (_version, _running, _virtualization), strict=True):
        yield partial(_of_manager, make, answer)


def _of_manager(make: Callable[[str], list[Family]], answer: bytes | BusError) -> list[Family]:
    return [] if isinstance(answer, BusError) else make(str(read_variant(answer)))


def _running(state: str) -> list[Family]:
    return [
        gauge(
            "node_systemd_system_running",
            "Whether the system is in the state running.",
            int(state == "running"),
        )
    ]


def _virtualization(machine: str) -> list[Family]:
    family = Family(
        "node_systemd_virtualization_info",
        "gauge",
        "Virtualization technology that the machine runs on.",
        ("virtualization_type",),
    )
    family.add(1, machine or "none")
    return [family]


def _version(version: str) -> list[Family]:
    match = _VERSION.search(version)
    if match is None:
        return []
    family = Family("node_systemd_version", "gauge", "Version of systemd.", ("version",))
    family.add(float(match[0]), version)
    return [family]


def _summary(units: Sequence[Unit]) -> Family:
    counts = Counter(unit.state for unit in units)
    family = Family("node_systemd_units", "gauge", "Units in each state.", ("state",))
    family.rows = [((state,), counts[state]) for state in _STATES]
    return family
