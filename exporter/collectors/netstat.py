"""Counters of the protocols: /proc/net/netstat, snmp and snmp6."""

from collections.abc import Iterable, Iterator

from exporter.collectors.collector import Roots
from exporter.collectors.options import Options, pattern
from leitstand.exposition import Family

_MOST_HEADERS = 1000


class ProtocolCounters:
    """node_netstat_<protocol>_<field> of the fields wanted."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._fields = pattern(options, "netstat_fields")
        # Which columns of a header line are wanted, under which name: the header never changes.
        self._columns: dict[bytes, list[tuple[int, str]]] = {}
        self._names: dict[bytes, str] = {}

    def collect(self) -> Iterable[Family]:
        for file in ("net/netstat", "net/snmp"):
            for name, value in self._tables(self._files.read(file)):
                yield _family(name, value)
        try:
            lines = self._files.read("net/snmp6")
        except FileNotFoundError:
            return  # IPv6 is switched off
        for name, value in self._lines(lines):
            yield _family(name, value)

    def _tables(self, content: bytes) -> Iterator[tuple[str, int]]:
        lines = content.splitlines()
        for header, values in zip(lines[::2], lines[1::2], strict=True):
            columns = self._columns.get(header)
            if columns is None:
                columns = self._wanted(header)
            figures = values.split()
            for index, name in columns:
                yield name, int(figures[index])

    def _wanted(self, header: bytes) -> list[tuple[int, str]]:
        if len(self._columns) > _MOST_HEADERS:
            raise ValueError("the header lines change without end")
        protocol, *fields = header.decode("ascii", "replace").split()
        names = [f"{protocol.removesuffix(':')}_{field}" for field in fields]
        # From 1: the values' line begins with the protocol as well.
        wanted = [(index, name) for index, name in enumerate(names, start=1) if self._wants(name)]
        self._columns[header] = wanted
        return wanted

    def _wants(self, name: str) -> bool:
        return name.isidentifier() and self._fields.search(name) is not None

    def _lines(self, content: bytes) -> Iterator[tuple[str, int]]:
        for line in content.splitlines():
            key, value = line.split()
            name = self._names.get(key)
            if name is None:
                name = self._name_of(key)
            if name:
                yield name, int(value)

    def _name_of(self, key: bytes) -> str:
        """``Udp6InDatagrams`` as ``Udp6_InDatagrams``; empty when it is not wanted."""
        if len(self._names) > _MOST_HEADERS:
            raise ValueError("snmp6 has too many fields")
        protocol, six, field = key.decode("ascii", "replace").partition("6")
        name = f"{protocol}6_{field}"
        self._names[key] = name = name if six and self._wants(name) else ""
        return name


def _family(name: str, value: int) -> Family:
    explanation = f"Statistic {name.replace('_', ' ')}."
    return Family(f"node_netstat_{name}", "untyped", explanation, (), [((), value)])
