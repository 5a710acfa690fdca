"""Temperatures, fans and voltages: /sys/class/hwmon (Documentation/hwmon/sysfs-interface), thermal zones."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.registry import Collector

from exporter.collectors.hardware import folders
from exporter.collectors.options import Options, selection
from exporter.exposition import Family, Kind
from exporter.files import Files, Folder
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped

_CHIPS = "class/hwmon"
_TYPES = frozenset(
    [
        "vrm",
        "beep_enable",
        "update_interval",
        "in",
        "cpu",
        "fan",
        "pwm",
        "temp",
        "curr",
        "power",
        "energy",
        "humidity",
        "intrusion",
        "freq",
    ]
)
_FILE = re.compile(r"([^0-9]+)([0-9]*)(?:_(.+))?", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9:_]")
_MOST_FILES = 2000

Sensor = dict[str, str]  # "input" -> "42000"; the key is "" for a file without such a part


class Figure(NamedTuple):
    name: str
    value: float
    kind: Kind = "gauge"
    sensor: str = ""  # if its name differs from its file's


class Sensors(Collector):
    """node_hwmon_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.sys_files
        self._selection = selection(options, "hwmon_chip")
        self._sensors_wanted = selection(options, "hwmon_sensor")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        entries = folders(self._files, _CHIPS)
        families: dict[str, Family] = {}
        names = chip_names(self._files, entries)
        chips = [(f"{_CHIPS}/{entry}", chip) for entry, chip in names.items() if self._selection.takes(chip)]
        self.skipped.each("hwmon", chips, lambda chip: self._read_chip(*chip, families))
        if clocks := families.get("node_hwmon_freq_freq_mhz"):
            # Under their labels, which two clocks of a chip may share.
            clocks.rows = list(self.skipped.unique("hwmon", clocks.rows).items())
        return families.values()

    def _read_chip(self, place: str, chip: str, families: dict[str, Family]) -> None:
        sensors = self._sensors(place)
        if self._files.exists(f"{place}/device"):
            # Old drivers put their files next to the device instead.
            for sensor, parts in self._sensors(f"{place}/device").items():
                sensors.setdefault(sensor, {}).update(parts)
        if name := clean(_text(self._files, f"{place}/name")):
            family = _family(families, "node_hwmon_chip_names", "gauge", ("chip", "chip_name"))
            family.add(1, chip, name)
        for sensor, parts in sensors.items():
            if not self._sensors_wanted.takes(f"{chip};{sensor}"):
                continue
            if "label" in parts:
                labelled = _family(families, "node_hwmon_sensor_label", "gauge", ("chip", "label", "sensor"))
                labelled.add(1, chip, parts["label"], sensor)
            for figure in figures(sensor, parts):
                family = _family(families, f"node_hwmon_{figure.name}", figure.kind, ("chip", "sensor"))
                family.add(figure.value, chip, figure.sensor or sensor)

    def _sensors(self, place: str) -> dict[str, Sensor]:
        try:
            folder = self._files.folder(place, self.skipped)
        except OSError:
            return {}
        with folder:
            return read_sensors(folder)


def _family(families: dict[str, Family], name: str, kind: Kind, labels: tuple[str, ...]) -> Family:
    if name not in families:
        families[name] = Family(name, kind, f"Hardware monitor: {name.removeprefix('node_hwmon_')}.", labels)
    return families[name]


def clean(text: str) -> str:
    """A text as part of a name: lower-case letters, digits, ``:`` and ``_``."""
    return _NOT_IN_NAMES.sub("_", text.lower()).strip("_")


def _text(files: Files, path: str) -> str:
    try:
        return files.attribute(path).decode("utf-8", "replace")
    except OSError:
        return ""


def chip_names(files: Files, entries: Iterable[str]) -> dict[str, str]:
    """The label of each hwmon folder: its device's path, as the numbers change from boot to boot.

    Two chips of one device are distinguished by name, or by folder if the names are equal too.
    """
    found = [
        (entry, _device_name(files, entry), clean(_text(files, f"{_CHIPS}/{entry}/name")))
        for entry in entries
    ]
    devices = [device for _, device, _ in found]
    both = [(device, name) for _, device, name in found]
    return {
        entry: device
        if devices.count(device) == 1
        else f"{device}_{name if name and both.count((device, name)) == 1 else clean(entry)}"
        for entry, device, name in found
    }


def _device_name(files: Files, entry: str) -> str:
    try:
        parts = files.real(f"{_CHIPS}/{entry}/device").split("/")
    except OSError:
        parts = []
    device, bus = clean(parts[-1]) if parts else "", clean(parts[-2]) if len(parts) > 1 else ""
    if device:
        return f"{bus}_{device}" if bus else device
    return clean(_text(files, f"{_CHIPS}/{entry}/name")) or clean(entry)


def read_sensors(folder: Folder) -> dict[str, Sensor]:
    """The files of one chip, by sensor: ``{"temp1": {"input": "42000", "label": "Core 0"}}``."""
    sensors: dict[str, Sensor] = {}
    for name in folder.names()[:_MOST_FILES]:
        match = _FILE.fullmatch(name)
        if match is None or match[1] not in _TYPES:
            continue
        try:
            value = folder.raw(name).strip(b"\n")  # spaces are part of a label
        except OSError:
            continue  # some drivers answer EAGAIN or ENODATA while a sensor sleeps
        sensor = f"{match[1]}{int(match[2] or 0)}"
        sensors.setdefault(sensor, {})[match[3] or ""] = value.decode("utf-8", "replace")
    return sensors


_MILLI, _MICRO = 1e3, 1e6  # divisors: dividing by 1000 is exact more often than multiplying by 0.001
# Sensors whose only file has no part after the number: metric, divisor.
_PLAIN = {"vrm": ("voltage_regulator_version", 1), "update_interval": ("update_interval_seconds", _MILLI)}
# Type: unit after the name, divisor, kind.
_UNITS: Mapping[str, tuple[str, float, Kind]] = {
    "in": ("_volts", _MILLI, "gauge"),
    "cpu": ("_volts", _MILLI, "gauge"),
    "temp": ("_celsius", _MILLI, "gauge"),
    "curr": ("_amps", _MILLI, "gauge"),
    "energy": ("_joule_total", _MICRO, "counter"),
    "power": ("_watt", _MICRO, "gauge"),
    "humidity": ("", _MICRO, "gauge"),
}
_INTERVALS = ("average_interval", "average_interval_min", "average_interval_max")
_SPEEDS = ("input", "min", "max", "target")


def figures(sensor: str, parts: Sensor) -> list[Figure]:
    """The metrics of one sensor, in base units; a part that is not a number gives none."""
    kind = sensor.rstrip("0123456789")
    if kind == "beep_enable":
        return [Figure("beep_enabled", int(parts.get("") == "1"))]
    if kind == "freq":
        return _clock(parts)
    found = []
    for part, text in parts.items():
        value = _number(text)
        if value is not None and part != "label":
            found.append(_plain(kind, value) if kind in _PLAIN else _figure(kind, part, value, "" in parts))
    return found


def _clock(parts: Sensor) -> list[Figure]:
    """A graphics card's clock, under its label; its other parts unchanged."""
    found = [(part, _number(text)) for part, text in parts.items() if part not in ("label", "input")]
    figures = [Figure(f"freq_{clean(part)}", value) for part, value in found if value is not None]
    value = _number(parts.get("input", ""))
    if value is not None and (label := clean(parts.get("label", ""))):
        figures.append(Figure("freq_freq_mhz", value / _MICRO, "gauge", label))
    return figures


def _plain(kind: str, value: float) -> Figure:
    name, divisor = _PLAIN[kind]
    return Figure(name, value / divisor)


def _figure(kind: str, part: str, value: float, has_plain: bool) -> Figure:
    name = f"{kind}_{clean(part)}" if part and (part != "input" or has_plain) else kind
    if part in ("fault", "alarm"):
        return Figure(name, value)
    if part == "beep":
        return Figure(f"{name}_enabled", value)
    if kind == "fan" and part in _SPEEDS:
        return Figure(f"{name}_rpm", value)
    if kind == "power" and part in _INTERVALS:
        return Figure(f"{name}_seconds", value / _MILLI)
    if kind == "power" and part == "accuracy":
        return Figure(name, value / _MICRO)
    if kind not in _UNITS or (kind == "temp" and part == "type"):
        return Figure(name, value)
    unit, divisor, metric_kind = _UNITS[kind]
    return Figure(f"{name}{unit}", value / divisor, metric_kind)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_ZONE = re.compile(r"thermal_zone(\d+)")
_COOLER = re.compile(r"cooling_device(\d+)")


class ThermalZones(Collector):
    """node_thermal_zone_temp and node_cooling_device_*."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        zones = Family("node_thermal_zone_temp", "gauge", "Temperature in degrees Celsius.", ("type", "zone"))
        current = Family(
            "node_cooling_device_cur_state", "gauge", "Current state of the cooling device.", ("name", "type")
        )
        most = Family(
            "node_cooling_device_max_state", "gauge", "Highest state of the cooling device.", ("name", "type")
        )

        def read(name: str) -> None:
            with self._files.folder(f"class/thermal/{name}", self.skipped) as folder:
                kind = folder.text("type")
                if (match := _ZONE.fullmatch(name)) and (value := folder.number("temp")) is not None:
                    zones.add(value / _MILLI, kind, match[1])
                if match := _COOLER.fullmatch(name):
                    _add_number(current, folder.number("cur_state"), match[1], kind)
                    _add_number(most, folder.number("max_state"), match[1], kind)

        self.skipped.each("thermal", folders(self._files, "class/thermal"), read)
        if not zones.rows and not current.rows:
            raise NoData("no thermal zone")
        return zones, current, most


def _add_number(family: Family, number: float | None, *labels: str) -> None:
    if number is not None:
        family.add(number, *labels)
