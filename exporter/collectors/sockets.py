"""Sockets and queues: /proc/net/sockstat, softnet_stat, udp, arp, and connection tracking."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.registry import Collector

from exporter.collectors.collector import gauge, unique
from exporter.collectors.options import Options, selection
from exporter.exposition import Family, Kind
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped


class SocketStatistics(Collector):
    """/proc/net/sockstat and sockstat6."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._page = os.sysconf("SC_PAGE_SIZE")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        parts = (lambda: self._read("net/sockstat", 4), lambda: self._read("net/sockstat6", 6))
        return unique("sockstat", self.skipped.parts("sockstat", *parts), self.skipped)

    def _read(self, file: str, version: int) -> Iterator[Family]:
        try:
            content = self._files.read(file)
        except FileNotFoundError:
            return
        for name, value in parse_sockets(content, self.skipped).items():
            yield gauge(f"node_sockstat_{name}", f"IPv{version} sockets: {name}.", value)
            if name.endswith("_mem"):
                explanation = f"IPv{version} sockets: {name}, in bytes."
                yield gauge(f"node_sockstat_{name}_bytes", explanation, value * self._page)


def parse_sockets(content: bytes, skipped: Skipped) -> dict[str, int]:
    """``TCP: inuse 4 mem 2`` as ``{"TCP_inuse": 4, "TCP_mem": 2}``."""
    lines = skipped.each("sockstat", content.splitlines(), _parse_protocol)
    return skipped.unique("sockstat", (pair for pairs in lines for pair in pairs))


def _parse_protocol(line: bytes) -> list[tuple[str, int]]:
    protocol, *words = line.decode("ascii").split()
    prefix = protocol.removesuffix(":")
    found = [(f"{prefix}_{field}", int(value)) for field, value in zip(words[::2], words[1::2], strict=True)]
    if not all(name.isidentifier() for name, _ in found):
        raise ValueError(f"not a line of sockstat: {line[:80]!r}")
    return found


# Column of softnet_stat (net/core/net-procfs.c), metric, kind, explanation.
_SOFTNET: tuple[tuple[int, str, Kind, str], ...] = (
    (0, "processed_total", "counter", "Packets processed."),
    (1, "dropped_total", "counter", "Packets dropped because the backlog was full."),
    (2, "times_squeezed_total", "counter", "Times processing ran out of its quota."),
    (8, "cpu_collision_total", "counter", "Collisions on a device's transmit lock."),
    (9, "received_rps_total", "counter", "Times the CPU was woken to process another CPU's packets."),
    (10, "flow_limit_count_total", "counter", "Times the flow limit was reached."),
    (11, "backlog_len", "gauge", "Packets in the backlog."),
)
_CPU_COLUMN = 12
_HEX_DIGITS = 8


class SoftwareInterrupts(Collector):
    """/proc/net/softnet_stat: packets per CPU."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        rows = parse_softnet(self._files.read("net/softnet_stat"), self.skipped)
        for column, name, kind, explanation in _SOFTNET:
            family = Family(f"node_softnet_{name}", kind, explanation, ("cpu",))
            family.rows = [((cpu,), row[column]) for cpu, row in rows.items() if column < len(row)]
            yield family


def parse_softnet(content: bytes, skipped: Skipped) -> dict[str, list[int]]:
    """The columns of each CPU. Kernels since 5.10 number the rows; older ones omit offline CPUs."""
    lines = content.splitlines()
    is_numbered = any(len(line.split()) > _CPU_COLUMN for line in lines)

    def row(entry: tuple[int, bytes]) -> tuple[str, list[int]]:
        index, words = entry[0], entry[1].split()
        if min(map(len, words), default=0) < _HEX_DIGITS or (is_numbered and len(words) <= _CPU_COLUMN):
            raise ValueError(f"not a line of softnet_stat: {entry[1][:80]!r}")
        columns = [int(word, 16) for word in words]
        return str(columns[_CPU_COLUMN] if is_numbered else index), columns

    return skipped.unique("softnet_stat", skipped.each("softnet_stat", enumerate(lines), row))


class UdpQueues(Collector):
    """Bytes waiting in the queues of all UDP sockets: /proc/net/udp and udp6."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        explanation = "Bytes waiting in the queues of UDP sockets."
        family = Family("node_udp_queues", "gauge", explanation, ("ip", "queue"))
        for file, version in (("net/udp", "v4"), ("net/udp6", "v6")):
            try:
                content = self._files.read(file)
            except FileNotFoundError:
                continue
            waiting = parse_queues(content, self.skipped)
            family.add(waiting[0], version, "tx")
            family.add(waiting[1], version, "rx")
        if not family.rows:
            raise NoData("no UDP")
        return [family]


_QUEUES_FIELD = 4


def parse_queues(content: bytes, skipped: Skipped) -> tuple[int, int]:
    """Bytes to be sent and to be read, summed over all sockets."""
    waiting = skipped.each("net/udp", content.splitlines()[1:], _parse_queue)
    return sum(sent for sent, _ in waiting), sum(received for _, received in waiting)


def _parse_queue(line: bytes) -> tuple[int, int]:
    if b" 00000000:00000000 " in line:
        return 0, 0  # nearly all queues are empty
    transmit, _, receive = line.split(None, _QUEUES_FIELD + 1)[_QUEUES_FIELD].partition(b":")
    return int(transmit, 16), int(receive, 16)


class Neighbours(Collector):
    """Entries of the ARP table per device: /proc/net/arp."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._selection = selection(options, "arp_device")
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        family = Family("node_arp_entries", "gauge", "Entries of the ARP table.", ("device",))
        for device, entries in parse_neighbours(self._files.read("net/arp"), self.skipped).items():
            if self._selection.takes(device):
                family.add(entries, device)
        return [family]


_ARP_FIELDS = 6


def parse_neighbours(content: bytes, skipped: Skipped) -> dict[str, int]:
    """How many entries each device has."""
    return Counter(skipped.each("net/arp", content.splitlines()[1:], _parse_neighbour))


def _parse_neighbour(line: bytes) -> str:
    fields = line.split(None, _ARP_FIELDS - 1)
    if len(fields) != _ARP_FIELDS:
        raise ValueError(f"not a line of arp: {line[:80]!r}")
    return fields[-1].strip().decode("utf-8", "replace")


_CONNTRACK = (
    ("found", "Lookups that found an entry."),
    ("invalid", "Packets that cannot be tracked."),
    ("ignore", "Packets of connections that are already tracked."),
    ("insert", "Entries inserted."),
    ("insert_failed", "Entries that could not be inserted."),
    ("drop", "Packets dropped because no entry could be allocated."),
    ("early_drop", "Entries dropped to make room for new ones."),
    ("search_restart", "Lookups restarted because the table was resized."),
)


class ConnectionTracking(Collector):
    """Entries of netfilter's table, their limit and statistics."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        if not self._files.exists("sys/net/netfilter/nf_conntrack_count"):
            raise NoData("connection tracking is not loaded")
        return self.skipped.parts("nf_conntrack", self._entries, self._limit, self._statistics)

    def _entries(self) -> Iterator[Family]:
        entries = int(self._files.attribute("sys/net/netfilter/nf_conntrack_count"))
        yield gauge("node_nf_conntrack_entries", "Connections tracked.", entries)

    def _limit(self) -> Iterator[Family]:
        limit = int(self._files.attribute("sys/net/netfilter/nf_conntrack_max"))
        yield gauge("node_nf_conntrack_entries_limit", "Maximum number of tracked connections.", limit)

    def _statistics(self) -> Iterator[Family]:
        try:
            content = self._files.read("net/stat/nf_conntrack")
        except FileNotFoundError:
            return
        sums = parse_conntrack(content, self.skipped)
        for name, explanation in _CONNTRACK:
            yield gauge(f"node_nf_conntrack_stat_{name}", explanation, sums.get(name, 0))


def parse_conntrack(content: bytes, skipped: Skipped) -> dict[str, int]:
    """The columns by name, summed over the CPUs."""
    header, *lines = content.decode("ascii", "replace").splitlines()
    names = header.split()

    def row(line: str) -> list[int]:
        words = line.split()
        if len(words) != len(names):
            raise ValueError(f"{len(words)} columns, not {len(names)}")
        return [int(word, 16) for word in words]

    sums = map(sum, zip(*skipped.each("stat/nf_conntrack", lines, row), strict=True))
    return skipped.unique("stat/nf_conntrack", zip(names, sums, strict=False))
