"""The scheduler's and the frequency driver's data of each CPU: /proc/schedstat, cpufreq."""

import re
from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.exposition import Family
from exporter.files import Folder
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped, in_range

_NANOSECONDS = 1_000_000_000
_NOT_OF_A_CPU = (b"version", b"timestamp", b"domain")
_RUNNING, _WAITING, _SLICES = 7, 8, 9


class SchedulerStatistics(Collector):
    """/proc/schedstat, see Documentation/scheduler/sched-stats.rst."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        try:
            content = self._files.read("schedstat")
        except FileNotFoundError as error:
            raise NoData("the kernel keeps no scheduler statistics") from error
        running = _counter("schedstat_running_seconds_total", "Time for which tasks ran.")
        waiting = _counter("schedstat_waiting_seconds_total", "Time for which tasks waited to run.")
        slices = _counter("schedstat_timeslices_total", "Time slices run.")
        for cpu, (ran, waited, count) in parse_scheduler(content, self.skipped).items():
            running.add(ran / _NANOSECONDS, cpu)
            waiting.add(waited / _NANOSECONDS, cpu)
            slices.add(count, cpu)
        return running, waiting, slices


def _counter(name: str, explanation: str) -> Family:
    return Family(f"node_{name}", "counter", explanation, ("cpu",))


def parse_scheduler(content: bytes, skipped: Skipped) -> dict[str, tuple[int, int, int]]:
    """Nanoseconds run, nanoseconds waited and slices of each CPU."""
    lines = (line for line in content.splitlines() if not line.startswith(_NOT_OF_A_CPU))
    return skipped.unique("schedstat", skipped.each("schedstat", lines, _parse_cpu))


def _parse_cpu(line: bytes) -> tuple[str, tuple[int, int, int]]:
    fields = line.split()
    if not fields[0].startswith(b"cpu"):
        raise ValueError(f"not a line of schedstat: {line[:80]!r}")
    ran, waited, slices = in_range([int(fields[column]) for column in (_RUNNING, _WAITING, _SLICES)])
    return str(int(fields[0][3:])), (ran, waited, slices)


# File of cpufreq, metric, explanation; the files hold kHz.
_FREQUENCIES = (
    ("cpuinfo_cur_freq", "frequency_hertz", "Frequency reported by the hardware."),
    ("cpuinfo_avg_freq", "frequency_avg_hertz", "Recent frequency, by the hardware's own counters."),
    ("cpuinfo_max_freq", "frequency_max_hertz", "Highest frequency of the hardware."),
    ("cpuinfo_min_freq", "frequency_min_hertz", "Lowest frequency of the hardware."),
    ("scaling_cur_freq", "scaling_frequency_hertz", "Frequency requested by the kernel."),
    ("scaling_max_freq", "scaling_frequency_max_hertz", "Highest frequency the kernel allows."),
    ("scaling_min_freq", "scaling_frequency_min_hertz", "Lowest frequency the kernel allows."),
)
_KILOHERTZ = 1000
_CPU = re.compile(r"cpu(\d+)")
_CPUS = "devices/system/cpu"


class Frequencies(Collector):
    """node_cpu_frequency_* and node_cpu_scaling_*."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.sys_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        families = [
            Family(f"node_cpu_{name}", "gauge", explanation, ("cpu",))
            for _, name, explanation in _FREQUENCIES
        ]
        governors = Family(
            "node_cpu_scaling_governor", "gauge", "Whether the governor is in use.", ("cpu", "governor")
        )
        for name in self._files.names(_CPUS):
            match = _CPU.fullmatch(name)
            if match is None:
                continue
            try:
                folder = self._files.folder(f"{_CPUS}/{name}/cpufreq", self.skipped)
            except OSError:
                continue  # virtual machines have none
            with folder:
                _read_frequencies(folder, match[1], families)
                _read_governors(folder, match[1], governors)
        return *families, governors


def _read_frequencies(folder: Folder, cpu: str, families: Iterable[Family]) -> None:
    for (file, _, _), family in zip(_FREQUENCIES, families, strict=True):
        if (value := folder.number(file)) is not None:
            family.add(value * _KILOHERTZ, cpu)


def _read_governors(folder: Folder, cpu: str, governors: Family) -> None:
    current = folder.text("scaling_governor")
    if current:
        for name in dict.fromkeys(folder.text("scaling_available_governors").split()):
            governors.add(int(name == current), cpu, name)
