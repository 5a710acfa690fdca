"""The live collectors: what can be asked of a host at each scrape, by node_exporter's names for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from exporter.collectors.collector import Collector, Roots
from exporter.collectors.cpu import ProcessorTime
from exporter.collectors.disks import DiskStatistics
from exporter.collectors.filesystem import FileSystems
from exporter.collectors.kernel import Entropy, KernelStat, LoadAverage, OpenFiles, Uname
from exporter.collectors.memory import MemoryInformation, Pressure, VirtualMemory
from exporter.collectors.netdev import NetworkTraffic
from exporter.collectors.options import Options
from exporter.collectors.os_release import OperatingSystem
from exporter.collectors.own import OwnProcess
from exporter.collectors.textfile import Textfiles

Group = Literal["node", "leitstand"]


@dataclass(frozen=True)
class CollectorEntry:
    """One kind of collector. ``group`` node: all its metrics are node_exporter's, and go with them."""

    build: Callable[[Roots, Options], Collector]
    summary: str
    is_default: bool = True
    group: Group = "node"


COLLECTORS: dict[str, CollectorEntry] = {
    "cpu": CollectorEntry(lambda roots, _: ProcessorTime(roots), "time of each CPU in each mode"),
    "diskstats": CollectorEntry(DiskStatistics, "reads, writes and times of block devices"),
    "entropy": CollectorEntry(lambda roots, _: Entropy(roots), "entropy at hand"),
    "filefd": CollectorEntry(lambda roots, _: OpenFiles(roots), "open files"),
    "filesystem": CollectorEntry(FileSystems, "space and inodes of mounted file systems"),
    "loadavg": CollectorEntry(lambda roots, _: LoadAverage(roots), "load average"),
    "meminfo": CollectorEntry(lambda roots, _: MemoryInformation(roots), "memory"),
    "netdev": CollectorEntry(NetworkTraffic, "traffic of network devices"),
    "os": CollectorEntry(lambda roots, _: OperatingSystem(roots), "the distribution"),
    "pressure": CollectorEntry(lambda roots, _: Pressure(roots), "time lost to waiting"),
    "stat": CollectorEntry(
        lambda roots, _: KernelStat(roots), "boot time, forks, interrupts, running processes"
    ),
    "uname": CollectorEntry(lambda roots, _: Uname(roots), "kernel and host name"),
    "vmstat": CollectorEntry(VirtualMemory, "paging, faults, kills for want of memory"),
    "own": CollectorEntry(lambda _roots, _options: OwnProcess(), "this program itself", group="leitstand"),
    # The last: a file that names a metric of another collector loses, not the collector.
    "textfile": CollectorEntry(lambda _, options: Textfiles(options), "files of metrics", group="leitstand"),
}
