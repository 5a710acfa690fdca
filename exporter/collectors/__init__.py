"""The live collectors, which run at each scrape, under node_exporter's names for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from prometheus_client.registry import Collector

from exporter.collectors.arrays import Bonds, SoftwareRaid
from exporter.collectors.clock import Clock, ClockDiscipline
from exporter.collectors.cpu import ProcessorTime
from exporter.collectors.devices import NvmeControllers, Watchdogs
from exporter.collectors.disks import DiskStatistics
from exporter.collectors.filesystem import FileSystems
from exporter.collectors.hardware import Firmware, MemoryErrors, SecurityModule
from exporter.collectors.kernel import Entropy, HungTasks, KernelStat, LoadAverage, OpenFiles, Uname
from exporter.collectors.memory import MemoryInformation, Pressure, VirtualMemory
from exporter.collectors.netclass import NetworkDevices
from exporter.collectors.netdev import NetworkTraffic
from exporter.collectors.netstat import ProtocolCounters
from exporter.collectors.options import Options
from exporter.collectors.os_release import OperatingSystem
from exporter.collectors.own import OwnProcess
from exporter.collectors.power import PowerSupplies
from exporter.collectors.processes import Processes
from exporter.collectors.scheduler import Frequencies, SchedulerStatistics
from exporter.collectors.sensors import Sensors, ThermalZones
from exporter.collectors.sockets import (
    ConnectionTracking,
    Neighbours,
    SocketStatistics,
    SoftwareInterrupts,
    UdpQueues,
)
from exporter.collectors.systemd import SystemdUnits
from exporter.collectors.textfile import Textfiles
from exporter.roots import Roots

Group = Literal["node", "leitstand"]


@dataclass(frozen=True)
class CollectorEntry:
    """One kind of collector. ``group`` node: all its metrics are node_exporter's, disabled with them."""

    build: Callable[[Roots, Options], Collector]
    summary: str
    is_default: bool = True
    group: Group = "node"


COLLECTORS: dict[str, CollectorEntry] = {
    "arp": CollectorEntry(Neighbours, "entries of the ARP table"),
    "bonding": CollectorEntry(lambda roots, _: Bonds(roots), "bonded network devices"),
    "conntrack": CollectorEntry(
        lambda roots, _: ConnectionTracking(roots), "connections tracked by netfilter"
    ),
    "cpu": CollectorEntry(ProcessorTime, "CPU time by mode, and throttling"),
    "cpufreq": CollectorEntry(lambda roots, _: Frequencies(roots), "CPU frequencies"),
    "diskstats": CollectorEntry(DiskStatistics, "reads, writes and times of block devices"),
    "dmi": CollectorEntry(lambda roots, _: Firmware(roots), "hardware data from the firmware (DMI)"),
    "edac": CollectorEntry(lambda roots, _: MemoryErrors(roots), "memory errors"),
    "entropy": CollectorEntry(lambda roots, _: Entropy(roots), "available entropy"),
    "filefd": CollectorEntry(lambda roots, _: OpenFiles(roots), "open files"),
    "filesystem": CollectorEntry(FileSystems, "space and inodes of mounted file systems"),
    "hwmon": CollectorEntry(Sensors, "temperatures, fans, voltages"),
    "kernel_hung": CollectorEntry(lambda roots, _: HungTasks(roots), "hung tasks"),
    "loadavg": CollectorEntry(lambda roots, _: LoadAverage(roots), "load average"),
    "mdadm": CollectorEntry(lambda roots, _: SoftwareRaid(roots), "software RAID"),
    "meminfo": CollectorEntry(lambda roots, _: MemoryInformation(roots), "memory"),
    "netclass": CollectorEntry(NetworkDevices, "properties of network devices"),
    "netdev": CollectorEntry(NetworkTraffic, "traffic of network devices"),
    "netstat": CollectorEntry(ProtocolCounters, "counters of IP, TCP, UDP and ICMP"),
    "nvme": CollectorEntry(lambda roots, _: NvmeControllers(roots), "NVMe controllers"),
    "os": CollectorEntry(lambda roots, _: OperatingSystem(roots), "the distribution"),
    "powersupplyclass": CollectorEntry(PowerSupplies, "mains power and batteries"),
    "pressure": CollectorEntry(lambda roots, _: Pressure(roots), "pressure stall information"),
    "processes": CollectorEntry(
        lambda roots, _: Processes(roots), "processes and threads by state", is_default=False
    ),
    "schedstat": CollectorEntry(
        lambda roots, _: SchedulerStatistics(roots), "running and waiting times of each CPU"
    ),
    "selinux": CollectorEntry(lambda roots, _: SecurityModule(roots), "SELinux state"),
    "sockstat": CollectorEntry(lambda roots, _: SocketStatistics(roots), "sockets in use"),
    "softnet": CollectorEntry(lambda roots, _: SoftwareInterrupts(roots), "packets processed by each CPU"),
    "stat": CollectorEntry(KernelStat, "boot time, forks, interrupts and running processes"),
    "systemd": CollectorEntry(SystemdUnits, "states of systemd units"),
    "thermal_zone": CollectorEntry(lambda roots, _: ThermalZones(roots), "thermal zones and cooling devices"),
    "time": CollectorEntry(lambda roots, _: Clock(roots), "clock, time zone and clock source"),
    "timex": CollectorEntry(lambda _roots, _options: ClockDiscipline(), "clock synchronisation"),
    "udp_queues": CollectorEntry(lambda roots, _: UdpQueues(roots), "bytes waiting in UDP sockets"),
    "uname": CollectorEntry(lambda roots, _: Uname(roots), "kernel version and host name"),
    "vmstat": CollectorEntry(VirtualMemory, "paging, page faults and OOM kills"),
    "own": CollectorEntry(
        lambda _, options: OwnProcess(options), "the exporter's own CPU and memory use", group="leitstand"
    ),
    "watchdog": CollectorEntry(lambda roots, _: Watchdogs(roots), "hardware watchdogs"),
    # Last: if a file repeats another collector's metric, the file loses.
    "textfile": CollectorEntry(
        lambda _, options: Textfiles(options), "metrics from textfiles", group="leitstand"
    ),
}
