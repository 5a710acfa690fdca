"""Counters of the protocols: /proc/net/netstat, snmp and snmp6."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.registry import Collector

from exporter.collectors.collector import unique
from exporter.collectors.options import Options, pattern
from exporter.exposition import Family
from exporter.roots import Roots
from exporter.skipped import Skipped

_MOST_HEADERS = 1000


class Columns(NamedTuple):
    """The number of words in a line of names, and the selected ones with their positions."""

    width: int
    wanted: list[tuple[int, str]]


class ProtocolCounters(Collector):
    """node_netstat_<protocol>_<field> for the selected fields."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._fields = pattern(options, "netstat_fields")
        # The selected columns of each header line, with their names: a header never changes.
        self._columns: dict[bytes, Columns] = {}
        self._names: dict[bytes, str] = {}
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        parts = (lambda: self._read("net/netstat"), lambda: self._read("net/snmp"), self._read_lines)
        return unique("netstat", self.skipped.parts("netstat", *parts), self.skipped)

    def _read(self, file: str) -> Iterable[Family]:
        return [_family(name, value) for name, value in self._tables(self._files.read(file))]

    def _read_lines(self) -> Iterable[Family]:
        try:
            content = self._files.read("net/snmp6")
        except FileNotFoundError:
            return []  # IPv6 is switched off
        return [_family(name, value) for name, value in self._lines(content)]

    def _tables(self, content: bytes) -> list[tuple[str, int]]:
        lines = content.splitlines()
        pairs: Iterable[tuple[bytes, bytes]] = zip(lines[::2], lines[1::2], strict=False)
        # If every second line is a known line of names, all is in order.
        if len(lines) % 2 or not all(map(self._columns.__contains__, lines[::2])):
            pairs = _pairs(lines)
        tables = self.skipped.each("netstat", pairs, self._table)
        return [figure for table in tables for figure in table]

    def _table(self, pair: tuple[bytes, bytes]) -> list[tuple[str, int]]:
        header, values = pair
        figures = values.split()
        if not figures:
            raise ValueError(f"no values: {header[:80]!r}")
        columns = self._columns.get(header) or self._wanted(header)
        if len(figures) != columns.width:
            raise ValueError(f"not one value for each field: {header[:80]!r}")
        return [(name, int(figures[index])) for index, name in columns.wanted]

    def _wanted(self, header: bytes) -> "Columns":
        if len(self._columns) > _MOST_HEADERS:
            self._columns.clear()
        protocol, *fields = header.decode("ascii", "replace").split()
        names = [f"{protocol.removesuffix(':')}_{field}" for field in fields]
        # From 1: the line of values also begins with the protocol.
        wanted = [(index, name) for index, name in enumerate(names, start=1) if self._wants(name)]
        self._columns[header] = columns = Columns(len(names) + 1, wanted)
        return columns

    def _wants(self, name: str) -> bool:
        return name.isidentifier() and self._fields.search(name) is not None

    def _lines(self, content: bytes) -> list[tuple[str, int]]:
        # Most fields are not selected: avoid a call for each.
        lines = [line for line in content.splitlines() if self._names.get(line.partition(b" ")[0], True)]
        figures = self.skipped.each("snmp6", lines, self._line)
        return [(name, value) for name, value in figures if name]

    def _line(self, line: bytes) -> tuple[str, int]:
        key, value = line.split()
        name = self._names.get(key)
        if name is None:
            name = self._name_of(key)
        return name, int(value) if name else 0

    def _name_of(self, key: bytes) -> str:
        """``Udp6InDatagrams`` as ``Udp6_InDatagrams``; empty if it is not selected."""
        if len(self._names) > _MOST_HEADERS:
            self._names.clear()
        protocol, six, field = key.decode("ascii", "replace").partition("6")
        name = f"{protocol}6_{field}"
        self._names[key] = name = name if six and self._wants(name) else ""
        return name


def _pairs(content: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each line of names with the line of values after it; one without the other is returned alone."""
    lines = iter(content)
    line = next(lines, None)
    while line is not None:
        following = next(lines, None)
        if (
            following is not None
            and following.partition(b" ")[0] == line.partition(b" ")[0]
            and _is_names(line) > _is_names(following)
        ):
            yield line, following
            line = next(lines, None)
        else:
            yield line, b""
            line = following


def _is_names(line: bytes) -> bool:
    return line.partition(b" ")[2][:1].isalpha()


def _family(name: str, value: int) -> Family:
    explanation = f"Statistic {name.replace('_', ' ')}."
    return Family(f"node_netstat_{name}", "untyped", explanation, (), [((), value)])
