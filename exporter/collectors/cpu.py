"""Seconds each CPU spent in each mode: /proc/stat. How often it was throttled, and whether it is isolated:
sysfs.
"""

import os
from collections.abc import Iterable
from typing import Any

from exporter.collectors.collector import Roots
from exporter.collectors.files import Files
from leitstand.exposition import Family

# The columns of a cpu line, in the kernel's order (fs/proc/stat.c); guest times follow.
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = ("user", "nice")
_IDLE = 3
_LEAST_COLUMNS = 4


class ProcessorTime:
    """node_cpu_seconds_total and node_cpu_guest_seconds_total."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._throttles = Throttles(roots.sys_files)
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._last: dict[str, list[int]] = {}

    def collect(self) -> Iterable[Family]:
        times = parse_times(self._files.read("stat"))
        self._last = {cpu: _without_steps_back(self._last.get(cpu), now) for cpu, now in times.items()}
        seconds = Family("node_cpu_seconds_total", "counter", "Time spent in each mode.", ("cpu", "mode"))
        guest = Family(
            "node_cpu_guest_seconds_total", "counter", "Time spent running guests.", ("cpu", "mode")
        )
        ticks = self._ticks
        for cpu, values in self._last.items():
            for mode, value in zip(_MODES, values, strict=False):
                seconds.samples.append(((cpu, mode), value / ticks))
            for mode, value in zip(_GUEST_MODES, values[len(_MODES) :], strict=False):
                guest.samples.append(((cpu, mode), value / ticks))
        return seconds, guest, *self._throttles.families(tuple(times))


def parse_times(content: bytes) -> dict[str, list[int]]:
    """Clock ticks per CPU and column: ``{"0": [user, nice, system, idle, …], …}``."""
    times = {}
    for line in content.splitlines():
        if not line.startswith(b"cpu"):
            break  # the cpu lines are the first
        name, *columns = line.split()
        if name != b"cpu":
            if len(columns) < _LEAST_COLUMNS:
                raise ValueError(f"too few columns: {line[:80]!r}")
            times[str(int(name[3:]))] = [int(column) for column in columns]
    if not times:
        raise ValueError("no line about a CPU")
    return times


def _without_steps_back(last: list[int] | None, now: list[int]) -> list[int]:
    """The kernel's idle and iowait may shrink a little between two readings; a counter must not.

    If idle shrinks by more than a few seconds, the CPU was taken away and came back: then it starts anew.
    """
    if last is None or len(last) != len(now) or last[_IDLE] - now[_IDLE] > _RESET_TICKS:
        return now
    return [max(before, after) for before, after in zip(last, now, strict=True)]


_RESET_TICKS = 300  # 3 s at the usual 100 ticks a second


_CPUS = "devices/system/cpu"


class Throttles:
    """node_cpu_core_throttles_total, node_cpu_package_throttles_total and node_cpu_isolated."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._cpus: tuple[str, ...] = ()
        # Which file counts for which core or package, found once: most machines have none.
        self._cores: dict[tuple[str, str], str] = {}
        self._packages: dict[tuple[str], str] = {}
        self._isolated: list[str] = []

    def families(self, cpus: tuple[str, ...]) -> Iterable[Family]:
        """The families for these CPUs."""
        if cpus != self._cpus:
            self._discover(cpus)
        cores = Family(
            "node_cpu_core_throttles_total", "counter", "Times the core was throttled.", ("core", "package")
        )
        packages = Family(
            "node_cpu_package_throttles_total", "counter", "Times the package was throttled.", ("package",)
        )
        cores.samples = [(labels, int(self._files.attribute(path))) for labels, path in self._cores.items()]
        packages.samples = [
            (labels, int(self._files.attribute(path))) for labels, path in self._packages.items()
        ]
        isolated = Family("node_cpu_isolated", "gauge", "CPUs kept free of the scheduler.", ("cpu",))
        isolated.samples = [((cpu,), 1) for cpu in self._isolated]
        return cores, packages, isolated

    def _discover(self, cpus: tuple[str, ...]) -> None:
        self._cores, self._packages, self._cpus = {}, {}, cpus
        try:
            self._isolated = parse_cpu_list(self._files.attribute(f"{_CPUS}/isolated").decode("ascii"))
        except OSError:
            self._isolated = []
        for cpu in cpus:
            place = f"{_CPUS}/cpu{cpu}"
            try:
                package = str(int(self._files.attribute(f"{place}/topology/physical_package_id")))
                core = str(int(self._files.attribute(f"{place}/topology/core_id")))
            except (OSError, ValueError):
                continue
            self._note(self._cores, (core, package), f"{place}/thermal_throttle/core_throttle_count")
            self._note(self._packages, (package,), f"{place}/thermal_throttle/package_throttle_count")

    def _note(self, known: dict[Any, str], labels: tuple[str, ...], path: str) -> None:
        if labels not in known and self._files.exists(path):
            known[labels] = path


_MOST_CPUS = 65536


def parse_cpu_list(text: str) -> list[str]:
    """``0-2,7`` as ``["0", "1", "2", "7"]``; the empty text as no CPU."""
    found: list[str] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if len(found) + len(numbers) > _MOST_CPUS:
            raise ValueError("too many CPUs")
        found += [str(number) for number in numbers]
    return found
