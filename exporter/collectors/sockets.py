"""Sockets and queues: /proc/net/sockstat, softnet_stat, udp, arp, and connection tracking."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from exporter.collectors.collector import NoData, Roots, gauge
from exporter.collectors.options import Options, selection
from leitstand.exposition import Family, Kind


class SocketStatistics:
    """/proc/net/sockstat and sockstat6."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._page = os.sysconf("SC_PAGE_SIZE")

    def collect(self) -> Iterable[Family]:
        for file, version in (("net/sockstat", 4), ("net/sockstat6", 6)):
            try:
                content = self._files.read(file)
            except FileNotFoundError:
                continue
            for name, value in parse_sockets(content):
                yield gauge(f"node_sockstat_{name}", f"IPv{version} sockets: {name}.", value)
                if name.endswith("_mem"):
                    explanation = f"IPv{version} sockets: {name}, in bytes."
                    yield gauge(f"node_sockstat_{name}_bytes", explanation, value * self._page)


def parse_sockets(content: bytes) -> list[tuple[str, int]]:
    """``TCP: inuse 4 mem 2`` as ``[("TCP_inuse", 4), ("TCP_mem", 2)]``."""
    found = {}
    for line in content.decode("ascii").splitlines():
        protocol, *words = line.split()
        for field, value in zip(words[::2], words[1::2], strict=True):
            name = f"{protocol.removesuffix(':')}_{field}"
            if not name.isidentifier():
                raise ValueError(f"not a name: {name[:80]!r}")
            found[name] = int(value)
    return list(found.items())


# Column of softnet_stat (net/core/net-procfs.c), metric, kind, explanation.
_SOFTNET: tuple[tuple[int, str, Kind, str], ...] = (
    (0, "processed_total", "counter", "Packets processed."),
    (1, "dropped_total", "counter", "Packets dropped as the backlog was full."),
    (2, "times_squeezed_total", "counter", "Times the processing ran out of its quota."),
    (8, "cpu_collision_total", "counter", "Collisions while a device's lock was taken for sending."),
    (9, "received_rps_total", "counter", "Times the CPU was woken to process another's packets."),
    (10, "flow_limit_count_total", "counter", "Times the flow limit was reached."),
    (11, "backlog_len", "gauge", "Packets in the backlog."),
)
_CPU_COLUMN = 12


class SoftwareInterrupts:
    """/proc/net/softnet_stat: packets per CPU."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        rows = parse_softnet(self._files.read("net/softnet_stat"))
        for column, name, kind, explanation in _SOFTNET:
            family = Family(f"node_softnet_{name}", kind, explanation, ("cpu",))
            family.samples = [((cpu,), row[column]) for cpu, row in rows.items() if column < len(row)]
            yield family


def parse_softnet(content: bytes) -> dict[str, list[int]]:
    """The columns of each CPU. Kernels since 5.10 number the rows; older ones leave out CPUs that are off."""
    rows = {}
    for index, line in enumerate(content.splitlines()):
        row = [int(column, 16) for column in line.split()]
        rows[str(row[_CPU_COLUMN] if len(row) > _CPU_COLUMN else index)] = row
    return rows


class UdpQueues:
    """Bytes that wait in the queues of all UDP sockets: /proc/net/udp and udp6."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        explanation = "Bytes waiting in the queues of UDP sockets."
        family = Family("node_udp_queues", "gauge", explanation, ("ip", "queue"))
        for file, version in (("net/udp", "v4"), ("net/udp6", "v6")):
            try:
                waiting = parse_queues(self._files.read(file))
            except FileNotFoundError:
                continue
            family.add(waiting[0], version, "tx")
            family.add(waiting[1], version, "rx")
        if not family.samples:
            raise NoData("no UDP")
        return [family]


_QUEUES_FIELD = 4


def parse_queues(content: bytes) -> tuple[int, int]:
    """Bytes to be sent and to be read, of all sockets together."""
    sent = received = 0
    for line in content.splitlines()[1:]:
        queues = line.split(None, _QUEUES_FIELD + 1)[_QUEUES_FIELD]
        # Nearly all queues are empty.
        if queues != b"00000000:00000000":
            transmit, _, receive = queues.partition(b":")
            sent += int(transmit, 16)
            received += int(receive, 16)
    return sent, received


class Neighbours:
    """Entries of the ARP table per device: /proc/net/arp."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._selection = selection(options, "arp_device")

    def collect(self) -> Iterable[Family]:
        family = Family("node_arp_entries", "gauge", "Entries of the ARP table.", ("device",))
        for device, entries in parse_neighbours(self._files.read("net/arp")).items():
            if self._selection.takes(device):
                family.add(entries, device)
        return [family]


_ARP_FIELDS = 6


def parse_neighbours(content: bytes) -> dict[str, int]:
    """How many entries each device has."""
    counts: Counter[str] = Counter()
    for line in content.decode("utf-8", "replace").splitlines()[1:]:
        fields = line.split(None, _ARP_FIELDS - 1)
        if len(fields) != _ARP_FIELDS:
            raise ValueError(f"not a line of arp: {line[:80]!r}")
        counts[fields[-1].strip()] += 1
    return counts


_CONNTRACK = (
    ("found", "Lookups that found an entry."),
    ("invalid", "Packets that cannot be tracked."),
    ("ignore", "Packets of connections that are tracked already."),
    ("insert", "Entries inserted."),
    ("insert_failed", "Entries that could not be inserted."),
    ("drop", "Packets dropped for want of an entry."),
    ("early_drop", "Entries dropped to make room for new ones."),
    ("search_restart", "Lookups begun anew as the table was resized."),
)


class ConnectionTracking:
    """Entries of netfilter's table, their limit and statistics."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files

    def collect(self) -> Iterable[Family]:
        try:
            entries = int(self._files.attribute("sys/net/netfilter/nf_conntrack_count"))
            limit = int(self._files.attribute("sys/net/netfilter/nf_conntrack_max"))
        except FileNotFoundError as error:
            raise NoData("connection tracking is not loaded") from error
        yield gauge("node_nf_conntrack_entries", "Connections tracked.", entries)
        yield gauge("node_nf_conntrack_entries_limit", "Connections that can be tracked.", limit)
        yield from self._statistics()

    def _statistics(self) -> Iterator[Family]:
        try:
            sums = parse_conntrack(self._files.read("net/stat/nf_conntrack"))
        except FileNotFoundError:
            return
        for name, explanation in _CONNTRACK:
            yield gauge(f"node_nf_conntrack_stat_{name}", explanation, sums.get(name, 0))


def parse_conntrack(content: bytes) -> dict[str, int]:
    """The columns by name, summed over the CPUs."""
    header, *rows = content.decode("ascii").splitlines()
    sums = dict.fromkeys(header.split(), 0)
    for row in rows:
        for name, value in zip(sums, row.split(), strict=True):
            sums[name] += int(value, 16)
    return sums
