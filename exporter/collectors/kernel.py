"""The kernel as a whole: load, /proc/stat, open files, hung tasks, entropy, uname."""

import os
from collections.abc import Iterable

from prometheus_client.registry import Collector

from exporter.collectors.collector import counter, gauge
from exporter.collectors.options import Options
from exporter.exposition import Family, Row
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped


class LoadAverage(Collector):
    """/proc/loadavg, see proc(5)."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        loads = parse_load(self._files.attribute("loadavg"))
        for minutes, load in zip((1, 5, 15), loads, strict=True):
            yield gauge(f"node_load{minutes}", f"Load average over {minutes} min.", load)


def parse_load(content: bytes) -> tuple[float, float, float]:
    """The averages over 1, 5 and 15 minutes."""
    one, five, fifteen = content.split()[:3]
    return float(one), float(five), float(fifteen)


# Key in /proc/stat, metric, kind, explanation.
_STAT_FIELDS = (
    (b"intr", "node_intr_total", counter, "Interrupts serviced."),
    (b"ctxt", "node_context_switches_total", counter, "Context switches."),
    (b"processes", "node_forks_total", counter, "Processes and threads created."),
    (b"btime", "node_boot_time_seconds", gauge, "Boot time of the system, in Unix time."),
    (b"procs_running", "node_procs_running", gauge, "Runnable processes."),
    (b"procs_blocked", "node_procs_blocked", gauge, "Processes waiting for I/O."),
)


class KernelStat(Collector):
    """The lines of /proc/stat that are not about one CPU."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._with_vectors = options.stat_softirq
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        content = self._files.read("stat")
        values = parse_stat(content, self.skipped)
        for key, name, make, explanation in _STAT_FIELDS:
            if key in values:
                yield make(name, explanation, values[key])
        if self._with_vectors:
            explanation = "Software interrupts serviced."
            samples: list[Row] = [((name,), count) for name, count in parse_vectors(content, self.skipped)]
            yield Family("node_softirqs_total", "counter", explanation, ("vector",), samples)


def parse_stat(content: bytes, skipped: Skipped) -> dict[bytes, int]:
    """The first number of each line that is a total: ``{b"ctxt": 99, …}``."""
    lines = content[max(content.find(b"intr "), 0) :].splitlines()
    totals = (line for line in lines if not line.startswith(b"cpu"))
    return skipped.unique("stat", skipped.each("stat", totals, _parse_total))


def _parse_total(line: bytes) -> tuple[bytes, int]:
    key, value = line.split(None, 2)[:2]
    return key, int(value)


# The columns after the sum, in the kernel's order (include/linux/interrupt.h), as node_exporter names them.
_VECTORS = (
    *("hi", "timer", "net_tx", "net_rx", "block", "block_iopoll"),
    *("tasklet", "sched", "hrtimer", "rcu"),
)


def parse_vectors(content: bytes, skipped: Skipped) -> list[tuple[str, int]]:
    """How many software interrupts of each kind /proc/stat counts; none without that line."""
    line = next((line for line in content.splitlines() if line.startswith(b"softirq ")), b"")
    pairs = zip(_VECTORS, line.split()[2:], strict=False)
    return skipped.each("softirq", pairs, lambda pair: (pair[0], int(pair[1])))


class OpenFiles(Collector):
    """/proc/sys/fs/file-nr: open file descriptions, and their limit."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        allocated, maximum = parse_open_files(self._files.attribute("sys/fs/file-nr"))
        yield gauge("node_filefd_allocated", "Open file descriptions.", allocated)
        yield gauge("node_filefd_maximum", "Maximum number of open file descriptions.", maximum)


def parse_open_files(content: bytes) -> tuple[int, int]:
    """Open and maximum; the middle field has been 0 since Linux 2.6."""
    allocated, _, maximum = content.split()
    return int(allocated), int(maximum)


class HungTasks(Collector):
    """/proc/sys/kernel/hung_task_detect_count: since Linux 6.15, if detection is enabled."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        try:
            count = int(self._files.attribute("sys/kernel/hung_task_detect_count"))
        except FileNotFoundError as error:
            raise NoData("the kernel does not count hung tasks") from error
        yield counter("node_kernel_hung_tasks_total", "Hung tasks detected by the kernel.", count)


_ENTROPY = (
    ("entropy_avail", "available_bits", "Bits of entropy available."),
    ("poolsize", "pool_size_bits", "Bits of entropy that the pool can hold."),
)


class Entropy(Collector):
    """/proc/sys/kernel/random, see random(4)."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        return self.skipped.each("random", _ENTROPY, self._figure)

    def _figure(self, entry: tuple[str, str, str]) -> Family:
        file, name, explanation = entry
        value = int(self._files.attribute(f"sys/kernel/random/{file}"))
        return gauge(f"node_entropy_{name}", explanation, value)


class Uname(Collector):
    """uname(2), of the running kernel."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        name = os.uname()
        # uname(2) has the domain too; Python leaves it out, and the kernel shows it here.
        domain = self._files.attribute("sys/kernel/domainname").decode("utf-8", "replace")
        labels = (domain, name.machine, name.nodename, name.release, name.sysname, name.version)
        yield Family(
            "node_uname_info",
            "gauge",
            "The running system as reported by uname(2).",
            ("domainname", "machine", "nodename", "release", "sysname", "version"),
            [(labels, 1)],
        )
