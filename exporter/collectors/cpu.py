"""Seconds that each CPU spent in each mode (/proc/stat), throttling and isolation (sysfs)."""

import os
import re
from collections.abc import Iterable, Mapping

from prometheus_client.registry import Collector

from exporter.collectors.cpuinfo import CpuInformation
from exporter.collectors.options import Options
from exporter.exposition import Family, Row
from exporter.files import Files
from exporter.roots import Roots
from exporter.skipped import Skipped, in_range

# The columns of a cpu line, in the kernel's order (fs/proc/stat.c); guest times follow.
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = ("user", "nice")
_IDLE = 3
_LEAST_COLUMNS = 4


class ProcessorTime(Collector):
    """node_cpu_seconds_total and node_cpu_guest_seconds_total."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._with_guest = options.cpu_guest
        self.skipped = Skipped()
        self._information = CpuInformation(roots, options, self.skipped)
        self._throttles = Throttles(roots.sys_files, self.skipped)
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._last: dict[str, list[int]] = {}

    def collect(self) -> Iterable[Family]:
        times = list(self._times())
        return self.skipped.parts("cpuinfo", lambda: times, self._information.families)

    def _times(self) -> Iterable[Family]:
        times = parse_times(self._files.read("stat"), self.skipped)
        self._last = {cpu: _without_steps_back(self._last.get(cpu), now) for cpu, now in times.items()}
        seconds = Family("node_cpu_seconds_total", "counter", "Time spent in each mode.", ("cpu", "mode"))
        guest = Family(
            "node_cpu_guest_seconds_total", "counter", "Time spent running guests.", ("cpu", "mode")
        )
        ticks = self._ticks
        for cpu, values in self._last.items():
            for mode, value in zip(_MODES, values, strict=False):
                seconds.rows.append(((cpu, mode), value / ticks))
            guests = values[len(_MODES) :] if self._with_guest else ()
            for mode, value in zip(_GUEST_MODES, guests, strict=False):
                guest.rows.append(((cpu, mode), value / ticks))
        return seconds, guest, *self._throttles.families(tuple(times))


def parse_times(content: bytes, skipped: Skipped) -> dict[str, list[int]]:
    """Clock ticks per CPU and column: ``{"0": [user, nice, system, idle, …], …}``."""
    # The first lines are about CPUs; the very first is their sum.
    lines = content.partition(b"\nintr ")[0].splitlines()
    each = (line for line in lines if not line.startswith(b"cpu "))
    times = skipped.unique("stat", skipped.each("stat", each, _parse_cpu))
    if not times:
        raise ValueError("no line about a CPU")
    return times


def _parse_cpu(line: bytes) -> tuple[str, list[int]]:
    name, *columns = line.split()
    if not name.startswith(b"cpu") or len(columns) < _LEAST_COLUMNS:
        raise ValueError(f"not a line about a CPU: {line[:80]!r}")
    return str(int(name[3:])), in_range([int(column) for column in columns])


def _without_steps_back(last: list[int] | None, now: list[int]) -> list[int]:
    """The kernel's idle and iowait may decrease slightly between two readings; a counter must not.

    If idle decreases by more than a few seconds, the CPU was removed and came back: its counters start anew.
    """
    if last is None or len(last) != len(now) or last[_IDLE] - now[_IDLE] > _RESET_TICKS:
        return now
    return [max(before, after) for before, after in zip(last, now, strict=True)]


_RESET_TICKS = 300  # 3 s at the usual 100 ticks a second


_CPUS = "devices/system/cpu"
_CPU = re.compile(r"cpu(\d+)")
Labels = tuple[str, ...]


class Throttles:
    """node_cpu_core_throttles_total, node_cpu_package_throttles_total, node_cpu_isolated, node_cpu_online."""

    def __init__(self, files: Files, skipped: Skipped) -> None:
        self._files, self._skipped = files, skipped
        self._cpus: tuple[str, ...] = ()
        # Which file belongs to which core or package, found once: most machines have none.
        self._cores: dict[Labels, str] = {}
        self._packages: dict[Labels, str] = {}
        self._isolated: list[str] = []

    def families(self, cpus: tuple[str, ...]) -> Iterable[Family]:
        if cpus != self._cpus:
            self._discover(cpus)
        cores = Family(
            "node_cpu_core_throttles_total", "counter", "Times the core was throttled.", ("core", "package")
        )
        packages = Family(
            "node_cpu_package_throttles_total", "counter", "Times the package was throttled.", ("package",)
        )
        cores.rows = self._counts(self._cores)
        packages.rows = self._counts(self._packages)
        isolated = Family("node_cpu_isolated", "gauge", "CPUs isolated from the scheduler.", ("cpu",))
        isolated.rows = [((cpu,), 1) for cpu in self._isolated]
        return cores, packages, isolated, self._online()

    def _online(self) -> Family:
        family = Family("node_cpu_online", "gauge", "CPUs that the scheduler uses.", ("cpu",))
        # Most of today's machines cannot take their first CPU offline, and then do not list it.
        if self._files.exists(f"{_CPUS}/cpu0/online"):
            for name in self._files.names(_CPUS):
                if match := _CPU.fullmatch(name):
                    family.rows += self._counts({(match[1],): f"{_CPUS}/{name}/online"})
        return family

    def _counts(self, places: Mapping[Labels, str]) -> list[Row]:
        """The content of each file; a CPU that was removed meanwhile has none."""
        samples: list[Row] = []
        for labels, place in places.items():
            try:
                samples.append((labels, int(self._files.attribute(place))))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                self._skipped.add("thermal_throttle", error)
        return samples

    def _discover(self, cpus: tuple[str, ...]) -> None:
        self._cores, self._packages, self._cpus = {}, {}, cpus
        try:
            isolated = self._files.attribute(f"{_CPUS}/isolated").decode("ascii", "replace")
        except OSError:
            isolated = ""
        self._isolated = parse_cpu_list(isolated, self._skipped)
        for cpu in cpus:
            place = f"{_CPUS}/cpu{cpu}"
            try:
                package = str(int(self._files.attribute(f"{place}/topology/physical_package_id")))
                core = str(int(self._files.attribute(f"{place}/topology/core_id")))
            except (OSError, ValueError):
                continue
            self._note(self._cores, (core, package), f"{place}/thermal_throttle/core_throttle_count")
            self._note(self._packages, (package,), f"{place}/thermal_throttle/package_throttle_count")

    def _note(self, known: dict[Labels, str], labels: Labels, path: str) -> None:
        if labels not in known and self._files.exists(path):
            known[labels] = path


_MOST_CPUS = 65536


def parse_cpu_list(text: str, skipped: Skipped) -> list[str]:
    """``0-2,7`` as ``["0", "1", "2", "7"]``; an empty text as no CPU."""
    ranges = skipped.each("list of CPUs", filter(None, text.split(",")), _parse_range)
    return list(dict.fromkeys([str(number) for numbers in ranges for number in numbers]))


def _parse_range(part: str) -> range:
    first, _, last = part.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    if len(numbers) > _MOST_CPUS:
        raise ValueError("too many CPUs")
    return numbers
