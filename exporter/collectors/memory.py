"""Memory: /proc/meminfo, /proc/vmstat and /proc/pressure."""

import errno
import re
from collections.abc import Iterable, Mapping

from prometheus_client.registry import Collector

from exporter.collectors.collector import counter, gauge, unique
from exporter.collectors.options import Options, pattern
from exporter.exposition import Family
from exporter.roots import NoData, Roots
from exporter.skipped import Skipped, in_range

_KIBIBYTE = 1024


class MemoryInformation(Collector):
    """/proc/meminfo, every line of it, in bytes where the kernel uses kB."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self._named: dict[bytes, tuple[str, str]] = {}
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        for key, value in parse_memory(self._files.read("meminfo"), self.skipped).items():
            name, explanation = self._named.get(key) or self._name(key)
            yield gauge(name, explanation, value)

    def _name(self, key: bytes) -> tuple[str, str]:
        word = key.decode("ascii", "replace")
        if len(self._named) > _MEMORY_NAMES_LIMIT:
            self._named.clear()
        self._named[key] = named = (
            f"node_memory_{word}",
            f"Field {word.removesuffix('_bytes')} of /proc/meminfo.",
        )
        return named


_MEMORY_KEY = re.compile(rb"^([A-Za-z_][\w]*)(?:\(([\w]+)\))?:$", re.ASCII)
_MEMORY_NAMES_LIMIT = 1000


def parse_memory(content: bytes, skipped: Skipped) -> dict[bytes, int]:
    """Each line as metric suffix and value: ``Active(anon): 12 kB`` is ``{b"Active_anon_bytes": 12288}``."""
    lines = content.splitlines()[:_MEMORY_NAMES_LIMIT]
    return skipped.unique("meminfo", skipped.each("meminfo", lines, _parse_field))


def _parse_field(line: bytes) -> tuple[bytes, int]:
    parts = line.split()
    key = _memory_key(parts[0])
    if len(parts) == 2:
        return key, int(parts[1])
    if len(parts) == 3 and parts[2] == b"kB":
        return key + b"_bytes", int(parts[1]) * _KIBIBYTE
    raise ValueError(f"not a line of meminfo: {line[:80]!r}")


def _memory_key(word: bytes) -> bytes:
    if word[:-1].isalnum() and word.endswith(b":"):
        return word[:-1]
    match = _MEMORY_KEY.match(word)
    if match is None:
        raise ValueError(f"not a field of meminfo: {word[:80]!r}")
    return match[1] if match[2] is None else b"%s_%s" % (match[1], match[2])


class VirtualMemory(Collector):
    """Chosen fields of /proc/vmstat."""

    def __init__(self, roots: Roots, options: Options) -> None:
        self._files = roots.proc_files
        self._fields = pattern(options, "vmstat_fields")
        self._wanted: dict[bytes, bool] = {}
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        lines = self._files.read("vmstat").splitlines()
        # Most of the two hundred fields are not selected: avoid a call for each.
        wanted = [line for line in lines if self._wanted.get(line.partition(b" ")[0], True)]
        events = self.skipped.each("vmstat", [line for line in wanted if self._wants(line)], _parse_event)
        return unique("vmstat", events, self.skipped)

    def _wants(self, line: bytes) -> bool:
        """Whether the field is selected, or is malformed."""
        if len(self._wanted) > _MEMORY_NAMES_LIMIT:
            self._wanted.clear()
        key = line.partition(b" ")[0]
        word = key.decode("ascii", "replace")
        wanted = self._wanted[key] = not word.isidentifier() or self._fields.search(word) is not None
        return wanted


def _parse_event(line: bytes) -> Family:
    key, value = line.split()
    word = key.decode("ascii")
    if not word.isidentifier():
        raise ValueError(f"not a field of vmstat: {word[:80]!r}")
    return Family(f"node_vmstat_{word}", "untyped", f"Field {word} of /proc/vmstat.", (), [((), int(value))])


# File, then for each line's first word: metric and explanation. Source: Documentation/accounting/psi.rst.
_PRESSURE: tuple[tuple[str, Mapping[bytes, tuple[str, str]]], ...] = (
    ("cpu", {b"some": ("cpu_waiting", "Time in which a task waited for a CPU.")}),
    (
        "io",
        {
            b"some": ("io_waiting", "Time in which a task waited for I/O."),
            b"full": ("io_stalled", "Time in which all tasks waited for I/O."),
        },
    ),
    (
        "memory",
        {
            b"some": ("memory_waiting", "Time in which a task waited for memory."),
            b"full": ("memory_stalled", "Time in which all tasks waited for memory."),
        },
    ),
    ("irq", {b"full": ("irq_stalled", "Time in which interrupts stalled all tasks.")}),
)
_MICROSECONDS = 1_000_000
# irq exists since Linux 6.1; before 5.6, reading these files fails if the kernel was booted without psi=1.
_NO_PRESSURE = (errno.ENOENT, errno.ENOTDIR, errno.EOPNOTSUPP)


class Pressure(Collector):
    """/proc/pressure: how long tasks waited."""

    def __init__(self, roots: Roots) -> None:
        self._files = roots.proc_files
        self.skipped = Skipped()

    def collect(self) -> Iterable[Family]:
        files = self.skipped.each("pressure", _PRESSURE, self._read)
        families = [family for of_file in files for family in of_file]
        if not families:
            raise NoData("the kernel keeps no pressure stall information")
        return families

    def _read(self, entry: tuple[str, Mapping[bytes, tuple[str, str]]]) -> list[Family]:
        file, metrics = entry
        try:
            content = self._files.attribute(f"pressure/{file}")
        except OSError as error:
            if error.errno not in _NO_PRESSURE:
                raise
            return []
        totals = parse_pressure(content, self.skipped)
        return [
            counter(f"node_pressure_{name}_seconds_total", explanation, totals[word] / _MICROSECONDS)
            for word, (name, explanation) in metrics.items()
            if word in totals
        ]


def parse_pressure(content: bytes, skipped: Skipped) -> dict[bytes, int]:
    """Microseconds per kind: ``{b"some": 12, b"full": 3}``."""
    return skipped.unique("pressure", skipped.each("pressure", content.splitlines(), _parse_stall))


def _parse_stall(line: bytes) -> tuple[bytes, int]:
    kind, _, rest = line.partition(b" ")
    return kind, in_range([int(rest.rpartition(b"total=")[2])])[0]
