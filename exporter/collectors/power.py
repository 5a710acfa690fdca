"""Mains power and batteries: /sys/class/power_supply (Documentation/ABI/testing/sysfs-class-power)."""

from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.hardware import folders
from exporter.collectors.options import Options, pattern
from exporter.exposition import Family
from exporter.files import Folder
from exporter.roots import Roots
from exporter.skipped import Skipped

_PLAIN, _MICRO, _TENTH = 1, 1_000_000, 10  # divisors
# File, metric, divisor.
_NUMBERS = (
    *((name, name, _PLAIN) for name in ("authentic", "calibrate", "capacity", "online", "present")),
    *((name, name, _PLAIN) for name in ("capacity_alert_max", "capacity_alert_min")),
    ("cycle_count", "cyclecount", _PLAIN),
    ("time_to_empty_now", "time_to_empty_seconds", _PLAIN),
    ("time_to_full_now", "time_to_full_seconds", _PLAIN),
    ("current_now", "current_ampere", _MICRO),
    ("energy_now", "energy_watthour", _MICRO),
    ("voltage_now", "voltage_volt", _MICRO),
    ("charge_now", "charge_ampere", _MICRO),
    ("power_now", "power_watt", _MICRO),
    *((name, name, _MICRO) for name in ("current_boot", "current_max", "voltage_boot", "voltage_ocv")),
    *((name, name, _MICRO) for name in ("energy_empty", "energy_empty_design", "energy_full")),
    *((name, name, _MICRO) for name in ("energy_full_design", "voltage_max", "voltage_max_design")),
    *((name, name, _MICRO) for name in ("voltage_min", "voltage_min_design", "charge_counter")),
    *((name, name, _MICRO) for name in ("charge_empty", "charge_empty_design", "charge_full")),
    *((name, name, _MICRO) for name in ("charge_full_design", "charge_control_limit", "precharge_current")),
    *((name, name, _MICRO) for name in ("charge_control_limit_max", "charge_term_current")),
    *((name, name, _MICRO) for name in ("constant_charge_current", "constant_charge_current_max")),
    *((name, name, _MICRO) for name in ("constant_charge_voltage", "constant_charge_voltage_max")),
    ("input_current_limit", "input_current_limit", _MICRO),
    *((name, f"{name}_celsius", _TENTH) for name in ("temp", "temp_alert_max", "temp_alert_min", "temp_max")),
    *((name, f"{name}_celsius", _TENTH) for name in ("temp_ambient", "temp_ambient_max", "temp_ambient_min")),
    ("temp_min", "temp_min_celsius", _TENTH),
)
_TEXTS = (
    *("capacity_level", "charge_type", "health", "manufacturer", "model_name", "scope"),
    *("serial_number", "status", "technology", "type", "usb_type"),
)


class PowerSupplies(Collector):
    """node_power_supply_*."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.sys_files
        self._ignored = pattern(options, "powersupply_ignored_supplies")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        names = folders(self._files, "class/power_supply")
        supplies = [name for name in names if not self._ignored.search(name)]
        families = [
            Family(f"node_power_supply_{name}", "gauge", f"Power supply: {file}.", ("power_supply",))
            for file, name, _ in _NUMBERS
        ]
        explanation = "Manufacturer, model and state of the power supply."
        information = Family("node_power_supply_info", "gauge", explanation, ("power_supply", *_TEXTS))
        self.skipped.each("power_supply", supplies, lambda supply: self._read(supply, information, families))
        return information, *families

    def _read(self, supply: str, information: Family, families: Iterable[Family]) -> None:
        with self._files.folder(f"class/power_supply/{supply}", self.skipped) as folder:
            information.add(1, supply, *[folder.text(name) for name in _TEXTS])
            _read_numbers(folder, supply, families)


def _read_numbers(folder: Folder, supply: str, families: Iterable[Family]) -> None:
    present = set(folder.names())
    for (file, _, divisor), family in zip(_NUMBERS, families, strict=True):
        if file in present and (value := folder.number(file)) is not None:
            family.add(value if divisor == 1 else value / divisor, supply)
